"""A bundle's claims, held against each other, its sample and its files: nothing is believed because a manifest says it."""

from collections.abc import Iterator
from math import prod

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.grid import input_grids, on
from neurodeploy.graph.ops import Node, Range
from neurodeploy_exporters.bundle import MANIFEST, Agreement, Bundle, Manifest, ModuleAgreement, Sample
from neurodeploy_exporters.bundle.sample import UNLABELLED
from neurodeploy_exporters.bundle.states import CURRENTS, POTENTIALS
from neurodeploy_exporters.bundle.visibility import LOGITS_ATOL
from neurodeploy_exporters.target import Target

_LARGEST_SHARE = {"none": 0.05, "loihi8": 0.05, "int8": 0.5, "fp16": 0.5}
"""Of spikes in which a replay may differ from the sample, by the kind of the weights; of other kinds none may."""
_A_FEW = 16
"""Spikes that may differ in any float network: a small sample has few, and one that differs takes others with it."""


def implausible(bundle: Bundle, target: Target, sample: Sample) -> Iterator[str]:
    """Everything that a bundle says and that cannot be so, a sentence each."""
    yield from unfit(bundle.manifest, sample)
    yield from intolerable(bundle.manifest, sample)
    yield from miscounted(bundle.manifest, sample)
    yield from unfounded(bundle, target)
    yield from misstated_inputs(bundle, target, sample)


def intolerable(manifest: Manifest, sample: Sample) -> Iterator[str]:
    """Tolerances beyond those of the kind of network, so that no manifest sets its own pass mark."""
    said, kind = manifest.sample, str(manifest.quantization.get("kind"))
    values = sum(spikes.size for spikes in sample.spikes.values())
    share = _LARGEST_SHARE.get(kind, 0.0)
    most = 0 if manifest.is_exact or not share else max(_A_FEW, int(share * values))
    if said.allowed_mismatched_spikes > most:
        yield (
            f"{MANIFEST}: sample.allowed_mismatched_spikes: {said.allowed_mismatched_spikes:,} found, at most {most:,} of "
            f"{values:,} expected of the kind {kind!a}"
        )
    size = max((float(np.abs(one).max()) for one in (sample.logits, *sample.answers.values()) if one.size), default=0.0)
    widest = LOGITS_ATOL if manifest.is_exact or not share else max(LOGITS_ATOL, size)
    if said.logits_atol > widest:
        yield (f"{MANIFEST}: sample.logits_atol: {said.logits_atol:g} found, at most {widest:g} expected of the kind {kind!a}")
    measured = manifest.agreement
    if measured is not None and said.allowed_mismatched_spikes > measured.mismatched_spikes:
        yield (
            f"{MANIFEST}: sample.allowed_mismatched_spikes: {said.allowed_mismatched_spikes:,} found, at most the "
            f"{measured.mismatched_spikes:,} of agreement expected"
        )


def miscounted(manifest: Manifest, sample: Sample) -> Iterator[str]:
    """Counts that are not those of the sample."""
    values = manifest.steps * sum(prod(layer.shape) for layer in manifest.spiking_layers)
    agreements: dict[str, Agreement | ModuleAgreement | None] = {"agreement": manifest.agreement, "module": manifest.module}
    for name, one in agreements.items():
        if one is None:
            continue
        if one.samples > manifest.sample.samples:
            most = manifest.sample.samples
            yield f"{MANIFEST}: {name}.samples: {one.samples} found, at most the {most} of the sample expected"
        if one.spikes_compared != one.samples * values:
            expected = f"{one.samples * values:,} as of {one.samples} samples expected"
            yield f"{MANIFEST}: {name}.spikes_compared: {one.spikes_compared:,} found, {expected}"
    yield from _misjudged(manifest, sample)


def _misjudged(manifest: Manifest, sample: Sample) -> Iterator[str]:
    """Right answers, counted again where the sample has labels."""
    said, right = manifest.sample.correct, sample.correct
    if said != right:
        yield f"{MANIFEST}: sample.correct: {said} found, {right} as of the sample's labels expected"
    claimed = manifest.accuracy.get("exported")
    if sample.labels is None or right is None or claimed is None or not manifest.is_exact:
        return
    wrong = int((sample.labels != UNLABELLED).sum()) - right
    if claimed.samples >= right + wrong and not right <= claimed.correct <= claimed.samples - wrong:
        yield (
            f"{MANIFEST}: accuracy.exported: {claimed.correct} of {claimed.samples} found, {right} to "
            f"{claimed.samples - wrong} expected, as the sample's own answers are {right} right and {wrong} wrong"
        )


def unfit(manifest: Manifest, sample: Sample) -> list[str]:
    """Where the sample has not the layers and shapes that the manifest promises."""
    batch, steps = manifest.sample.samples, manifest.steps
    leading = (steps, batch) if manifest.timed_input else (batch,)
    expected = {"inputs": (*leading, *manifest.input_shape), "logits": (batch, manifest.classes)}
    expected |= {f"inputs {one.name}": (*leading, *one.shape) for one in manifest.further_inputs}
    expected |= {f"answer {one.name}": (batch, one.size) for one in manifest.further_answers}
    expected |= {f"spikes of {layer.name}": (steps, batch, *layer.shape) for layer in manifest.spiking_layers}
    actual: dict[str, tuple[int, ...]] = {"inputs": sample.inputs.shape, "logits": sample.logits.shape}
    actual |= {f"inputs {name}": values.shape for name, values in sample.further.items()}
    actual |= {f"answer {name}": values.shape for name, values in sample.answers.items()}
    actual |= {f"spikes of {name}": spikes.shape for name, spikes in sample.spikes.items()}
    if sample.labels is not None:
        actual["labels"], expected["labels"] = sample.labels.shape, (batch,)
    for name, sums in sample.states.items():
        actual[name] = sums.shape
        shape = next(
            (one.shape for one in manifest.spiking_layers if name in (CURRENTS + one.name, POTENTIALS + one.name)), None
        )
        if shape is not None:
            expected[name] = (batch, shape[0])
    return [
        f"{manifest.sample.file}: {name}: {_shown(actual.get(name))} found, {_shown(expected.get(name))} expected"
        for name in expected | actual
        if actual.get(name) != expected.get(name)
    ]


def unfounded(bundle: Bundle, target: Target) -> Iterator[str]:
    """A latency that no piece can have; those of a body on a chip are checked where it is replayed."""
    manifest = bundle.manifest
    late = {piece.name for piece in manifest.pieces if target.format_of(bundle, piece).late}
    if manifest.latency_steps and not late:
        yield f"{MANIFEST}: latency_steps: {manifest.latency_steps} found, 0 expected of pieces that answer in the same step"
    for layer in manifest.spiking_layers:
        if layer.latency_steps and layer.part not in late:
            yield f"{MANIFEST}: layer {layer.name}: latency_steps: {layer.latency_steps} found, 0 expected on the host"


def misstated_inputs(bundle: Bundle, target: Target, sample: Sample) -> Iterator[str]:
    """Where the files do to inputs something else than the manifest says, or the sample is off the grid that it declares."""
    manifest = bundle.manifest
    said, normal = manifest.input_grid, manifest.normalization
    if said is not None and not said.rounded and not on(sample.inputs, Range(said.exponent, said.largest)):
        yield f"{manifest.sample.file}: inputs: values off the grid found, {said.encoding.split('.')[0]}, as the manifest says"
    for piece in (manifest.whole, *manifest.chain[:1]) if said is not None or normal is not None else ():
        if piece is None:
            continue
        nodes = target.members(bundle, piece, {})
        grids = [(node.exponent, node.largest) for node in input_grids(nodes)]
        normals = [[*node.mean, *node.std] for node in nodes if isinstance(node, ops.NormalizeNode)]
        if said is not None and grids != [(said.exponent, said.largest)] * said.rounded:
            yield f"{bundle.path(piece.file)}: rounds its inputs otherwise than the manifest's input_grid says"
        told = [] if normal is None or normal.folded or normal.inputs != "raw" else [[*normal.mean, *normal.std]]
        if normal is not None and normals != [[*map(np.float32, one)] for one in told]:
            yield f"{bundle.path(piece.file)}: normalises its inputs otherwise than the manifest's normalization says"


def overrated(bundle: Bundle, target: Target) -> Iterator[str]:
    """What the sample is said to show of layers that the files do not have, or of more values than they have.

    Raises:
        UserError: a file cannot be read, or is of another network than the manifest says.
    """
    manifest, nodes = bundle.manifest, dict[str, Node]()
    said = manifest.sample.mutations
    if said and not manifest.is_exact:
        kind = str(manifest.quantization.get("kind"))
        yield f"{MANIFEST}: sample.mutations: found of the kind {kind!a}, whose runs differ by rounding; none expected"
        return
    for piece in (manifest.chain or manifest.pieces) if said else ():
        nodes |= {node.name: node for node in target.members(bundle, piece, nodes)}
    for one in said:
        node = nodes.get(one.layer)
        value = getattr(node, one.kind, None) if isinstance(node, ops.Weighted) else None
        if node is None:
            yield f"{MANIFEST}: sample.mutations: layer {one.layer!a} found, which is in no file of the bundle"
        elif value is not None and one.values != value.size:
            counted = f"{one.values:,} found, {value.size:,} as in the file expected"
            yield f"{MANIFEST}: sample.mutations: {one.layer}, {one.kind}: {counted}"


def _shown(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"shape {shape}"
