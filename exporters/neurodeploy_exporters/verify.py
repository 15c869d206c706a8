"""Verification: replay the artefacts and compare every spike and logit with the bundle's sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from neurodeploy.graph import ops
from neurodeploy.graph.grid import on
from neurodeploy.graph.ops import Range
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import sha256
from neurodeploy_exporters.bundle import MANIFEST, Bundle, Manifest, Sample, SampleEntry, read_bundle
from neurodeploy_exporters.target import Target, Tensors, find

_STEPWISE = " step by step"


@dataclass(frozen=True)
class Verification:
    """What a replay found.

    Attributes:
        mismatched_spikes: spiking layer → number of values (neuron, step, sample) that differ, over all ways of running it;
            None for a layer that was not compared.
        spikes_compared: number of values compared, spiking or silent.
        logits_max_difference: largest difference of a logit; NaN if none was compared.
        findings: what differs, one sentence each, with the file, layer or tensor; empty if the bundle is sound.
    """

    mismatched_spikes: dict[str, int | None]
    spikes_compared: int
    logits_max_difference: float
    findings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.findings

    @property
    def mismatches(self) -> int:
        """Values that differ, over all layers that were compared."""
        return sum(count or 0 for count in self.mismatched_spikes.values())

    def as_document(self) -> dict[str, Any]:
        """As JSON has it; what was not compared is null."""
        gap = self.logits_max_difference
        return {
            "passed": self.passed,
            "spikes_compared": self.spikes_compared,
            "mismatched_spikes": self.mismatched_spikes,
            "logits_max_difference": gap if isfinite(gap) else None,
            "findings": list(self.findings),
        }

    def __str__(self) -> str:
        """Layers with their mismatches, "–" where nothing was compared, and what differs."""
        counts = {layer: "–" if count is None else f"{count:,}" for layer, count in self.mismatched_spikes.items()}
        rows = {"spiking layer": "mismatched spikes", **counts}
        name, number = max(map(len, rows)), max(map(len, rows.values()))
        logits = f"logits differ by {self.logits_max_difference:.2g} at most" if self.spikes_compared else "no logits either"
        return "\n".join(
            [
                *(f"{layer:<{name}}  {count:>{number}}" for layer, count in rows.items()),
                "",
                f"{self.spikes_compared:,} spike values compared; {logits}",
                *(f"differs: {finding}" for finding in self.findings),
            ]
        )

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def verify(bundle: Bundle | str | Path) -> Verification:
    """Check a bundle's files against their hashes, then replay them, and compare every spike and logit with its sample.

    Every way of running it is replayed by its target's own runtimes: as a whole and in pieces, which must agree bit for bit
    where one runtime runs both, and if it streams once more whole, step by step. The artefacts are replayed even if a hash
    differs, so that the report says what the change does.

    Args:
        bundle: its folder, or a bundle, which is read from its folder again.

    Raises:
        UserError: there is no readable manifest, or a runtime is not installed.
    """
    bundle = read_bundle(bundle.folder if isinstance(bundle, Bundle) else Path(bundle))
    target, findings = find(bundle.manifest.target), list(_changed_files(bundle))
    mismatches: dict[str, int | None] = {layer.name: None for layer in bundle.manifest.spiking_layers}
    compared, gaps = 0, list[float]()
    try:
        sample = bundle.sample()
        unfit = [*_unfit(bundle.manifest, sample), *_unfounded(bundle, target), *_misstated_inputs(bundle, target, sample)]
        findings += unfit
        runs = {} if unfit else dict(_runs(bundle, target, sample))
    except UserError as error:
        return Verification(mismatches, 0, float("nan"), (*findings, str(error)))
    for way, tensors in runs.items():
        comparison = _compare(tensors, sample, bundle.manifest.output_name)
        findings += comparison.findings(way, bundle.manifest.sample)
        for layer, (wrong, size) in comparison.wrong.items():
            mismatches[layer] = (mismatches[layer] or 0) + wrong
            compared += size
        gaps.append(comparison.gap)
    at_once = {way: tensors for way, tensors in runs.items() if not way.endswith(_STEPWISE)}
    if len(at_once) == 2 and len({piece.format for piece in bundle.manifest.pieces}) == 1:  # others sum in other orders
        findings += _disagreements(at_once)
    return Verification(mismatches, compared, float(np.max(gaps)) if gaps else float("nan"), tuple(findings))


@dataclass(frozen=True)
class _Comparison:
    """One run against the sample.

    Attributes:
        misshapen: what is to be said of tensors of another shape than the sample's.
        wrong: spiking layer of the right shape → values that differ, values compared.
        gap: largest difference of a logit; NaN if one is no number, or they have another shape.
    """

    misshapen: tuple[str, ...]
    wrong: dict[str, tuple[int, int]]
    gap: float

    def findings(self, way: str, allowed: SampleEntry) -> Iterator[str]:
        """What goes beyond the manifest's tolerances."""
        yield from (f"{way}, {difference}" for difference in self.misshapen)
        if sum(wrong for wrong, _ in self.wrong.values()) > allowed.allowed_mismatched_spikes:
            for layer, (wrong, compared) in self.wrong.items():
                if wrong:
                    yield f"{way}, layer {layer}: {wrong:,} of {compared:,} spikes differ from the sample"
        if not self.misshapen and not self.gap <= allowed.logits_atol:
            yield f"{way}: logits differ from the sample by up to {self.gap:.3g}"


def _compare(tensors: Tensors, sample: Sample, logits: str) -> _Comparison:
    answers: Tensors = {logits: sample.logits, **sample.answers}
    expected: Tensors = {**sample.spikes, **answers}
    fitting = {name for name, value in expected.items() if tensors[name].shape == value.shape}
    return _Comparison(
        misshapen=tuple(
            f"tensor {name}: shape {tensors[name].shape} found, {value.shape} expected"
            for name, value in expected.items()
            if name not in fitting
        ),
        wrong={
            layer: (int(np.count_nonzero(tensors[layer] != spikes)), spikes.size)
            for layer, spikes in sample.spikes.items()
            if layer in fitting
        },
        gap=float(np.max([np.abs(tensors[name] - value).max() for name, value in answers.items()]))
        if fitting >= answers.keys()
        else float("nan"),
    )


def _changed_files(bundle: Bundle) -> Iterator[str]:
    for name, expected in bundle.manifest.files.items():
        path = bundle.path(name)
        try:
            if not path.is_file():
                yield f"{path}: missing"
            elif sha256(path) != expected:
                yield f"{path}: changed, its SHA-256 is not the manifest's"
        except OSError as error:
            yield f"{path}: cannot be read ({error.strerror})"
    used = {*bundle.manifest.artefacts, bundle.manifest.sample.file}
    for name in sorted(bundle.manifest.files.keys() - used):
        yield f"{bundle.path(name)}: listed in the manifest, but no piece of the bundle"
    known = {MANIFEST, *bundle.manifest.files}
    for path in sorted(bundle.folder.iterdir()):
        if path.name not in known:
            yield f"{path}: not listed in the manifest"


def _unfit(manifest: Manifest, sample: Sample) -> list[str]:
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
    return [
        f"{manifest.sample.file}: {name}: {_shown(actual.get(name))} found, {_shown(expected.get(name))} expected"
        for name in expected | actual
        if actual.get(name) != expected.get(name)
    ]


def _unfounded(bundle: Bundle, target: Target) -> Iterator[str]:
    """A latency that no piece can have; those of a body on a chip are checked where it is replayed."""
    manifest = bundle.manifest
    late = {piece.name for piece in manifest.pieces if target.format_of(bundle, piece).late}
    if manifest.latency_steps and not late:
        yield f"{MANIFEST}: latency_steps: {manifest.latency_steps} found, 0 expected of pieces that answer in the same step"
    for layer in manifest.spiking_layers:
        if layer.latency_steps and layer.part not in late:
            yield f"{MANIFEST}: layer {layer.name}: latency_steps: {layer.latency_steps} found, 0 expected on the host"


def _misstated_inputs(bundle: Bundle, target: Target, sample: Sample) -> Iterator[str]:
    """Where the files do to inputs something else than the manifest says, or the sample is off the grid that it declares."""
    manifest = bundle.manifest
    said, normal = manifest.input_grid, manifest.normalization
    if said is not None and not said.rounded and not on(sample.inputs, Range(said.exponent, said.largest)):
        yield f"{manifest.sample.file}: inputs: values off the grid found, {said.encoding.split('.')[0]}, as the manifest says"
    for piece in (manifest.whole, *manifest.chain[:1]) if said is not None or normal is not None else ():
        if piece is None:
            continue
        nodes = target.members(bundle, piece, {})
        grids = [(node.exponent, node.largest) for node in nodes if isinstance(node, ops.QuantizeNode)]
        normals = [[*node.mean, *node.std] for node in nodes if isinstance(node, ops.NormalizeNode)]
        if said is not None and grids != [(said.exponent, said.largest)] * said.rounded:
            yield f"{bundle.path(piece.file)}: rounds its inputs otherwise than the manifest's input_grid says"
        told = [] if normal is None or normal.folded or normal.inputs != "raw" else [[*normal.mean, *normal.std]]
        if normal is not None and normals != [[*map(np.float32, one)] for one in told]:
            yield f"{bundle.path(piece.file)}: normalises its inputs otherwise than the manifest's normalization says"


def _shown(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"shape {shape}"


def _runs(bundle: Bundle, target: Target, sample: Sample) -> Iterator[tuple[str, Tensors]]:
    """Every way in which the bundle can be run, with all spikes and the logits."""
    manifest = bundle.manifest
    tensors: Tensors = {manifest.input_name: sample.inputs, **sample.further}
    layers = [layer.name for layer in manifest.spiking_layers]
    if manifest.whole is not None:
        yield manifest.whole.file, target.replay(bundle, manifest.whole, tensors, layers)
    for piece in manifest.chain:
        inside = [layer.name for layer in manifest.spiking_layers if layer.part == piece.name]
        tensors |= target.replay(bundle, piece, tensors, inside)
    if manifest.chain:
        absent = [layer.name for layer in manifest.spiking_layers if layer.name not in tensors]
        if absent:
            raise UserError(f"{bundle.path(MANIFEST)}: layer {absent[0]}: in no piece of the bundle")
        yield ", ".join(piece.file for piece in manifest.chain), tensors
    if manifest.whole is not None and manifest.streaming:
        stepwise = target.replay_each_step(bundle, manifest.whole, sample.inputs, layers)
        yield f"{manifest.whole.file}{_STEPWISE}", stepwise
    for way in manifest.step_ways:
        made: Tensors = {manifest.input_name: sample.inputs}
        for model in way:
            inside = [layer.name for layer in manifest.spiking_layers if model.name in ("whole", layer.part)]
            made |= target.replay_steps(bundle, model, made, inside)
        yield ", ".join(model.file for model in way) + _STEPWISE, made


def _disagreements(runs: dict[str, Tensors]) -> Iterator[str]:
    (whole, tensors), (parts, others) = runs.items()
    for name in tensors:
        if not np.array_equal(tensors[name], others.get(name, np.empty(0))):
            yield f"{whole} and {parts}: tensor {name} differs between the whole and its parts"
