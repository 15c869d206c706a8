"""Verification: replay the artefacts and compare every spike and logit with the bundle's sample."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurodeploy.io.cage import is_wanted
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import SAMPLE, Bundle, Sample, SampleEntry, read_bundle
from neurodeploy_exporters.bundle.constants import changed
from neurodeploy_exporters.bundle.seal import SIGNATURE, damages
from neurodeploy_exporters.target import Target, Tensors, find
from neurodeploy_exporters.verify.caged import verify_caged
from neurodeploy_exporters.verify.outcome import Verification
from neurodeploy_exporters.verify.plausibility import implausible, overrated
from neurodeploy_exporters.verify.ways import STEPWISE, first_difference, further_runs, runs


def verify(bundle: Bundle | str | Path, *, caged: bool = False) -> Verification:
    """Check a bundle's files against their hashes, then replay them, and compare every spike and logit with its sample.

    Every way of running it is replayed by its target's own runtimes: as a whole and in pieces, which must agree bit for bit
    where one runtime runs both, and if it streams once more whole, step by step. The artefacts are replayed even if a hash
    differs, so that the report says what the change does. Where nothing differs and sums are exact, a few samples are run once
    more in every other way: streamed in chunks, whole and in pieces, alone, in batches of which the last is smaller, and one
    after the other through a chip. Spikes are counted in the first ways alone.

    Args:
        bundle: its folder, or a bundle, which is read from its folder again.
        caged: in a process of its own with limits of memory, time and disk, and without network, as the command does it: for
            the bundles of strangers. It takes some seconds to start, and knows no target that was registered in this process.

    Raises:
        UserError: there is no readable manifest, or a runtime is not installed; caged, what reading it did ended the process.
        Failure: caged, it took too long.
    """
    folder = bundle.folder if isinstance(bundle, Bundle) else Path(bundle)
    if caged and is_wanted():
        return verify_caged(folder)
    bundle = read_bundle(folder)
    target, findings = find(bundle.manifest.target), list(damages(bundle.folder, bundle.manifest))
    mismatches: dict[str, int | None] = {layer.name: None for layer in bundle.manifest.spiking_layers}
    said = {_OLD: bundle.manifest.schema_version == 2, _SIGNED: bundle.path(SIGNATURE).exists()}
    notes = tuple(note for note, applies in said.items() if applies)
    compared, gaps = 0, list[float]()
    try:
        sample = bundle.sample()
        unfit = list(implausible(bundle, target, sample))
        findings += unfit
        made = {} if unfit else dict(runs(bundle, target, sample))
    except UserError as error:
        return Verification(mismatches, 0, float("nan"), (*findings, str(error)), notes)
    for way, tensors in made.items():
        comparison = _compare(tensors, sample, bundle.manifest.output_name)
        findings += comparison.findings(way, bundle.manifest.sample)
        for layer, (wrong, size) in comparison.wrong.items():
            mismatches[layer] = (mismatches[layer] or 0) + wrong
            compared += size
        same = [layer for layer, (wrong, _) in comparison.wrong.items() if not wrong]
        findings += _other_states(way, tensors, sample, same)
        gaps.append(comparison.gap)
    findings += _unseen_states(made, sample)
    at_once = {way: tensors for way, tensors in made.items() if not way.endswith(STEPWISE)}
    if len(at_once) == 2 and len({piece.format for piece in bundle.manifest.pieces}) == 1:  # others sum in other orders
        findings += _disagreements(at_once)
    try:
        findings += changed(target, bundle, sample)
        findings += [] if findings else _further(bundle, target, sample)
        findings += [] if findings else overrated(bundle, target)
    except UserError as error:
        findings += [] if str(error) in findings else [str(error)]
    widest = float(np.max(gaps)) if gaps else float("nan")
    shown = () if findings else bundle.manifest.sample.mutations
    return Verification(mismatches, compared, widest, tuple(findings), notes, shown)


_SIGNED = f"{SIGNATURE} is a signature, which is checked with `neurodeploy verify --identity` and its maker's public key alone"
_OLD = (
    "a manifest of schema 2 has no hash of its own: its claims are believed as they are, and there are no sums of constants or "
    "potentials to compare; export again for both, or take them of the files as they are with `neurodeploy upgrade`"
)


@dataclass(frozen=True)
class _Comparison:
    """One run against the sample.

    Attributes:
        misshapen: what is to be said of tensors of another shape than the sample's.
        wrong: spiking layer of the right shape → values that differ, values compared.
        first: layer → step, sample and neuron of the first value that differs, with both values, in words.
        gap: largest difference of a logit; NaN if one is no number, or they have another shape.
    """

    misshapen: tuple[str, ...]
    wrong: dict[str, tuple[int, int]]
    first: dict[str, str]
    gap: float

    def findings(self, way: str, allowed: SampleEntry) -> Iterator[str]:
        """What goes beyond the manifest's tolerances."""
        yield from (f"{way}, {difference}" for difference in self.misshapen)
        if sum(wrong for wrong, _ in self.wrong.values()) > allowed.allowed_mismatched_spikes:
            for layer, (wrong, compared) in self.wrong.items():
                if wrong:
                    counted = f"{wrong:,} of {compared:,} spikes differ from the sample"
                    yield f"{way}, layer {layer}: {counted}, first {self.first[layer]}"
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
        first={
            layer: first_difference(tensors[layer], spikes)
            for layer, spikes in sample.spikes.items()
            if layer in fitting and not np.array_equal(tensors[layer], spikes)
        },
        gap=float(np.max([np.abs(tensors[name] - value).max() for name, value in answers.items()]))
        if fitting >= answers.keys()
        else float("nan"),
    )


def _further(bundle: Bundle, target: Target, sample: Sample) -> Iterator[str]:
    """What differs in the ways of running that say nothing new where the plain ones differ already."""
    for way, tensors, part in further_runs(bundle, target, sample):
        yield from _compare(tensors, part, bundle.manifest.output_name).findings(way, bundle.manifest.sample)


def _other_states(way: str, tensors: Tensors, sample: Sample, layers: Collection[str]) -> Iterator[str]:
    """Where currents or final potentials, summed, are not the sample's, though the layer fires what it should."""
    for name, expected in sample.states.items():
        what, _, layer = name.partition("/")
        if layer not in layers or name not in tensors or np.array_equal(tensors[name], expected):
            continue
        differs = tensors[name] != expected
        where = tuple(int(axis[0]) for axis in np.nonzero(differs))
        place = f"first in sample {where[0]}, channel {where[1]}: {tensors[name][where]}, {expected[where]} in the sample"
        counted = f"{np.count_nonzero(differs):,} of {expected.size:,} sums of {what} differ from the sample"
        yield f"{way}, layer {layer}: {counted}, {place}"


def _unseen_states(made: Mapping[str, Tensors], sample: Sample) -> Iterator[str]:
    """States in the sample that no way of running the bundle makes."""
    for name in sample.states:
        if made and not any(name in tensors for tensors in made.values()):
            yield f"{SAMPLE}: {name}: in the sample, but no artefact has these neurons' states"


def _disagreements(runs: dict[str, Tensors]) -> Iterator[str]:
    (whole, tensors), (parts, others) = runs.items()
    for name in tensors:
        if not np.array_equal(tensors[name], others.get(name, np.empty(0))):
            yield f"{whole} and {parts}: tensor {name} differs between the whole and its parts"
