"""Two bundles, compared: their claims, the constants in their files, what they fire, and where that differs first."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.graph import Graph
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, read_bundle
from neurodeploy_exporters.bundle.constants import constants_of
from neurodeploy_exporters.target import find
from neurodeploy_exporters.verify.artefact import read_artefact
from neurodeploy_exporters.verify.ways import first_difference, runs


@dataclass(frozen=True)
class BundleDifference:
    """How two bundles differ.

    Attributes:
        claims: fields of the manifest, a sentence each; without those that follow from the files.
        files: those whose hashes differ, or that one has alone.
        constants: layers whose structure, weights or neurons differ, a sentence each.
        behaviour: the first layer, step and neuron that differ on the first bundle's sample, and the answers; a sentence each.
    """

    claims: tuple[str, ...]
    files: tuple[str, ...]
    constants: tuple[str, ...]
    behaviour: tuple[str, ...]

    @property
    def same(self) -> bool:
        return not (self.claims or self.files or self.constants or self.behaviour)

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        parts = {name: list(getattr(self, name)) for name in ("claims", "files", "constants", "behaviour")}
        return {"same": self.same, **parts}

    def __str__(self) -> str:
        if self.same:
            return "no difference found"
        titles = {"claims": "manifest", "files": "files", "constants": "layers", "behaviour": "on the first one's sample"}
        parts = [(title, getattr(self, name)) for name, title in titles.items()]
        return "\n".join(f"{title}: {line}" for title, lines in parts for line in lines)


def diff(one: str | Path, other: str | Path) -> BundleDifference:
    """Compare two bundles, of the same target or not; both must be sound.

    Raises:
        UserError: one of them cannot be read or run.
    """
    first, second = read_bundle(Path(one)), read_bundle(Path(other))
    graphs = [read_artefact(bundle.folder).graph for bundle in (first, second)]
    return BundleDifference(
        claims=tuple(_claims(first, second)),
        files=tuple(_files(first, second)),
        constants=tuple(_constants(*graphs)),
        behaviour=tuple(_behaviour(first, second)),
    )


_OF_THE_FILES = {"files", "sizes", "digest"}


def _claims(first: Bundle, second: Bundle) -> Iterator[str]:
    one, other = (bundle.manifest.model_dump(mode="json") for bundle in (first, second))
    for field in one:
        if field not in _OF_THE_FILES and one[field] != other[field]:
            yield f"{field}: {_short(one[field])} and {_short(other[field])}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _files(first: Bundle, second: Bundle) -> Iterator[str]:
    one, other = first.manifest.files, second.manifest.files
    for name in sorted(one | other):
        if name not in one or name not in other:
            yield f"{name}: in {(first if name in one else second).folder} alone"
        elif one[name] != other[name]:
            yield f"{name}: SHA-256 {one[name][:12]}… and {other[name][:12]}…"


def _constants(first: Graph, second: Graph) -> Iterator[str]:
    one, other = ({node.name: node for node in graph.nodes} for graph in (first, second))
    for name in one | other:
        if name not in one or name not in other:
            yield f"{name}: in the {'first' if name in one else 'second'} bundle alone"
            continue
        if one[name].kind != other[name].kind:
            yield f"{name}: {one[name].kind} and {other[name].kind}"
            continue
        here, there = (dict(constants_of(node)) for node in (one[name], other[name]))
        for key in here | there:
            yield from _values(key, here.get(key), there.get(key))


def _values(key: str, here: Any, there: Any) -> Iterator[str]:
    if here is None or there is None:
        yield f"{key}: in the {'second' if here is None else 'first'} bundle alone"
    elif here.shape != there.shape:
        yield f"{key}: shape {here.shape} and {there.shape}"
    elif not np.array_equal(here, there):
        differs = here != there
        where = tuple(int(axis[0]) for axis in np.nonzero(differs))
        counted = f"{np.count_nonzero(differs):,} of {here.size:,} values differ"
        yield f"{key}: {counted}, first at {where}: {here[where]:g} and {there[where]:g}"


def _behaviour(first: Bundle, second: Bundle) -> Iterator[str]:
    sample = first.sample()
    if (first.manifest.input_shape, first.manifest.timed_input) != (second.manifest.input_shape, second.manifest.timed_input):
        yield f"inputs of shape {first.manifest.input_shape} and {second.manifest.input_shape}, so they cannot be run alike"
        return
    made = []
    for bundle in (first, second):
        target = find(bundle.manifest.target)
        renamed = {bundle.manifest.input_name: sample.inputs, **sample.further}
        made.append(next(runs(bundle, target, sample, entering=renamed), None))
    if made[0] is None or made[1] is None:
        raise UserError(f"{first.folder}: no artefact that can be run")
    (_, one), (_, other) = made[0], made[1]
    for layer in (entry.name for entry in first.manifest.spiking_layers):
        if layer not in one or layer not in other:
            continue
        if one[layer].shape != other[layer].shape:
            yield f"layer {layer}: spikes of shape {one[layer].shape} and {other[layer].shape}"
        elif not np.array_equal(one[layer], other[layer]):
            count = int(np.count_nonzero(one[layer] != other[layer]))
            place = first_difference(one[layer], other[layer], "in the second")
            yield f"layer {layer}: {count:,} of {one[layer].size:,} spikes differ, first {place}"
    logits, others = one[first.manifest.output_name], other[second.manifest.output_name]
    if logits.shape == others.shape and not np.array_equal(logits, others):
        answers = int(np.count_nonzero(logits.argmax(-1) != others.argmax(-1)))
        yield f"logits differ by up to {np.abs(logits - others).max():.3g}, and {answers} of {len(logits)} answers"
