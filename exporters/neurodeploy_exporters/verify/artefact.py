"""What a bundle's artefacts hold, as one graph, and what they fire: for those who count on the artefact, not on its model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import MANIFEST, Bundle, Piece, read_bundle
from neurodeploy_exporters.bundle.constants import changed
from neurodeploy_exporters.bundle.seal import damages
from neurodeploy_exporters.target import Place, Tensors, find
from neurodeploy_exporters.verify.plausibility import implausible, overrated

Spikes: TypeAlias = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Artefact:
    """A bundle, read back.

    Attributes:
        bundle: where it is.
        graph: the network that its files hold: weights as they stand there, rounded ones too, and integers on a chip.
        pieces: those that fire, in order: the whole network, or encoder, body and head as far as they have spiking layers.
        places: node → "encoder", "body" or "head", where the bundle has no whole network in one piece.
    """

    bundle: Bundle
    graph: Graph
    pieces: tuple[Piece, ...]
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Who fires the spikes, in a few words."""
        target, runtimes = find(self.bundle.manifest.target), dict[str, list[str]]()
        for piece in self.pieces:
            runtimes.setdefault(target.format_of(self.bundle, piece).runtime, []).append(piece.file)
        return " and ".join(f"{runtime} ({', '.join(files)})" for runtime, files in runtimes.items())

    def fire(self, inputs: NDArray[np.float32]) -> Spikes:
        """Run the artefacts.

        Args:
            inputs: `[B, …]`, or `[T, B, …]` where the network takes sequences.

        Returns:
            Spiking layer → `[T, B, …]`, 0 or 1.

        Raises:
            UserError: an artefact cannot be run, or a runtime is not installed.
        """
        manifest, target = self.bundle.manifest, find(self.bundle.manifest.target)
        tensors: Tensors = {manifest.input_name: inputs}
        spikes: Spikes = {}
        for piece in self.pieces:
            made = target.replay(self.bundle, piece, tensors, _firing(self.bundle, piece))
            tensors |= made
            spikes |= {layer: made[layer].astype(np.uint8) for layer in _firing(self.bundle, piece)}
        return spikes


def read_artefact(folder: Path) -> Artefact:
    """Read a bundle and the network in its files.

    Raises:
        UserError: there is no sound bundle, a file of it was changed, or holds another network than the manifest says; one
            line, which names the file.
    """
    bundle = read_bundle(folder)
    if len(bundle.manifest.input_names) > 1:
        taken = ", ".join(bundle.manifest.input_names)
        raise UserError(f"{folder}: a bundle of several inputs ({taken}), which is verified alone; count the model itself")
    manifest, target = bundle.manifest, find(bundle.manifest.target)
    pieces = manifest.chain if manifest.whole is None else (manifest.whole,)
    for layer in manifest.spiking_layers:
        if not {piece.name for piece in pieces} & {"whole", layer.part}:
            raise UserError(f"{bundle.path(MANIFEST)}: layer {layer.name}: part: {layer.part} found, which is no piece")
    _refuse(damages(folder, manifest))
    members: dict[str, Node] = {}
    places: dict[str, Place] = {}
    for piece in pieces:
        for node in target.members(bundle, piece, members):
            members.setdefault(node.name, node)  # a sum of spikes may be a member of two parts
            if piece.name != "whole":
                places.setdefault(node.name, piece.name)
    names = _synapses_as_trained(pieces, members)

    def renamed(node: Node) -> Node:
        return replace(node, name=names.get(node.name, node.name), inputs=tuple(names.get(name, name) for name in node.inputs))

    try:
        graph = Graph(map(renamed, members.values()))
    except UserError as error:
        raise UserError(f"{folder}: its files do not make one network: {error}") from None
    _check_layers(bundle, graph)
    sample = bundle.sample()
    _refuse(implausible(bundle, target, sample))
    _refuse(changed(target, bundle, sample))
    _refuse(overrated(bundle, target))
    firing = [piece for piece in pieces if _firing(bundle, piece)]
    placed = {names.get(name, name): place for name, place in places.items()}
    return Artefact(bundle, graph, pieces[: 1 + pieces.index(firing[-1])], placed)


def _synapses_as_trained(pieces: tuple[Piece, ...], members: Mapping[str, Node]) -> dict[str, str]:
    """New names: a last synapse on the chip, whose numbers leave it, gets the name that it has in the trained network.

    The host's node that brings those numbers back to the trained unit bears it in the files.
    """
    names: dict[str, str] = {}
    for tensor in (tensor for piece in pieces for tensor in piece.graded):
        name = tensor.name.removesuffix(".graded")
        if isinstance(members.get(tensor.name), ops.ConvNode | ops.LinearNode) and name != tensor.name:
            names |= {tensor.name: name, name: f"{name}.trained_unit"}
    return names


def _firing(bundle: Bundle, piece: Piece) -> list[str]:
    """The spiking layers in a piece, in order."""
    return [layer.name for layer in bundle.manifest.spiking_layers if piece.name in ("whole", layer.part)]


def _refuse(findings: Iterable[str]) -> None:
    """What verification would find of a bundle, before anything is run, is no ground to count on."""
    for finding in findings:
        raise UserError(f"{finding}; export the bundle again")


def _check_layers(bundle: Bundle, graph: Graph) -> None:
    path, entry = bundle.path(MANIFEST), (bundle.manifest.input_shape, bundle.manifest.timed_input)
    listed = {layer.name: layer.shape for layer in bundle.manifest.spiking_layers}
    held = {name: graph.shape(name) for name in graph.spiking}
    if listed != held:
        odd = next(name for name in listed | held if listed.get(name) != held.get(name))
        raise UserError(f"{path}: layer {odd}: shape {listed.get(odd)} found, {held.get(odd)} as in the artefacts expected")
    answers = bundle.manifest.output_names
    if len(graph.outputs) != len(answers):
        raise UserError(f"{path}: {', '.join(answers)} found, the {len(graph.outputs)} answers of the artefacts expected")
    if entry != (graph.input.shape, graph.input.timed):
        raise UserError(f"{path}: input_shape: {entry[0]} found, {graph.input.shape} as in the artefacts expected")
    if graph.steps not in (None, bundle.manifest.steps):
        raise UserError(f"{path}: steps: {bundle.manifest.steps} found, {graph.steps} as in the artefacts expected")
