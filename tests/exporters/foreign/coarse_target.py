"""An export target as another package would write it: weights in steps of 1/64, in a file of its own format."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.io.arrays import read_arrays
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import Format, Subject, Target, TargetOptions
from neurodeploy_exporters.bundle import SAMPLE, Bundle, Manifest, Piece, SampleEntry, describe, sample_of

KINDS = {kind.__name__: kind for kind in vars(ops).values() if isinstance(kind, type) and kind.__name__.endswith("Node")}


class CoarseOptions(TargetOptions):
    """Options of the target "coarse".

    Attributes:
        steps_per_unit: weights are multiples of its inverse.
        order: of the arrays in the file.
    """

    steps_per_unit: int = Field(default=64, ge=1, description="Weights are multiples of 1/N.")
    order: Literal["forwards", "backwards"] = Field(default="forwards", description="Of the arrays in the file.")


def store(graph: Graph, order: str, path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    told = []
    for node in graph.nodes:
        plain: dict[str, Any] = {}
        for field in fields(node):
            value = getattr(node, field.name)
            if isinstance(value, np.ndarray):
                arrays[f"{node.name}/{field.name}"] = value
            else:
                plain[field.name] = vars(value) if isinstance(value, NeuronParameters) else value
        told.append([type(node).__name__, plain])
    arrays["network"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, **dict(sorted(arrays.items(), reverse=order == "backwards")))


def stored(path: Path) -> Graph:
    arrays = read_arrays(path)
    members = []
    for kind, plain in json.loads(arrays["network"].tobytes()):
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
        if "parameters" in values:
            values["parameters"] = NeuronParameters(**values["parameters"])
        weights = {key.partition("/")[2]: array for key, array in arrays.items() if key.partition("/")[0] == values["name"]}
        members.append(KINDS[kind](**values, **weights))
    return Graph(members)


def replay(bundle: Bundle, piece: Piece, tensors: Mapping[str, NDArray[Any]], layers: Sequence[str]) -> dict[str, NDArray[Any]]:
    made = interpreter.run(stored(bundle.path(piece.file)), tensors[piece.inputs[0]], steps=bundle.manifest.steps)
    return {name: made[name] for name in (*piece.outputs, *layers)}


def members(bundle: Bundle, piece: Piece, before: Mapping[str, ops.Node]) -> tuple[ops.Node, ...]:
    assert not before
    return stored(bundle.path(piece.file)).nodes


class CoarseTarget(Target):
    """Weights in coarse steps."""

    name = "coarse"
    Options = CoarseOptions
    formats: ClassVar = {"coarse": Format(runtime="the coarse runtime", replay=replay, members=members)}

    def check(self, graph: Graph, options: CoarseOptions, *, calibrated: bool = True, reset: bool = False) -> None:  # noqa: ARG002
        for node in graph.of(ops.NeuronNode):
            if node.parameters.reset == "soft":
                raise UserError(f"node {node.name}: a soft reset has no coarse form; train with a hard one")

    def deployed(self, graph: Graph, options: CoarseOptions) -> Graph:
        def rounded(node: ops.Node) -> ops.Node:
            if not isinstance(node, ops.ConvNode | ops.LinearNode):
                return node
            n = options.steps_per_unit
            bias = None if node.bias is None else (np.rint(node.bias * n) / n).astype(np.float32)
            return replace(node, weight=(np.rint(node.weight * n) / n).astype(np.float32), bias=bias)

        return Graph(map(rounded, graph.nodes))

    def export(self, subject: Subject, folder: Path, options: CoarseOptions) -> Path:
        self.check(subject.graph, options)
        graph = self.deployed(subject.graph, options)
        sample = sample_of(graph, subject.sample_inputs)
        piece = Piece(name="whole", file="whole.npz", format="coarse", inputs=(graph.input.name,), outputs=(graph.output.name,))
        manifest = Manifest(
            **describe(graph, target=self.name, name=subject.name),
            steps=len(next(iter(sample.spikes.values()))),
            latency_steps=0,
            pieces=(piece,),
            quantization={"kind": "coarse", "steps_per_unit": options.steps_per_unit},
            accuracy={},
            sample=SampleEntry(file=SAMPLE, samples=len(sample.logits), logits_atol=0, allowed_mismatched_spikes=0),
        )
        return self.write_bundle(folder, manifest, {piece.file: partial(store, graph, options.order)}, sample)
