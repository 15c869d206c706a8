"""Verification: replay the artefacts and compare every spike and logit with the bundle's sample."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError
from neurodeploy.files import sha256
from neurodeploy_exporters.bundle import MANIFEST, Bundle, Manifest, Sample, read_bundle
from neurodeploy_exporters.replay import Tensors, replay


@dataclass(frozen=True)
class Verification:
    """What a replay found.

    Attributes:
        mismatched_spikes: spiking layer → number of values (neuron, step, sample) that differ, over all ways of running it.
        spikes_compared: number of values compared, spiking or silent.
        logits_max_difference: largest difference of a logit; NaN if none was compared.
        findings: what differs, one sentence each, with the file, layer or tensor; empty if the bundle is sound.
    """

    mismatched_spikes: dict[str, int]
    spikes_compared: int
    logits_max_difference: float
    findings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.findings


def verify(folder: Path) -> Verification:
    """Check a bundle's files against their hashes, then its artefacts against its sample.

    An ONNX bundle is run twice, as a whole and in pieces, which must agree bit for bit; a Lava bundle with ONNX Runtime on the
    host parts and the fixed-point simulator on the body. The artefacts are replayed even if a hash differs, so that the report
    says what the change does.

    Raises:
        UserError: there is no readable manifest, or ONNX Runtime is not installed.
    """
    bundle = read_bundle(folder)
    findings = list(_changed_files(bundle))
    layers = [layer.name for layer in bundle.manifest.spiking_layers]
    mismatches, compared, difference = dict.fromkeys(layers, 0), 0, float("nan")
    try:
        sample = bundle.sample()
        unfit = _unfit(bundle.manifest, sample)
        findings += unfit
        runs = {} if unfit else dict(_runs(bundle, sample))
    except UserError as error:
        return Verification(mismatches, 0, difference, (*findings, str(error)))
    for way, tensors in runs.items():
        for layer in layers:
            wrong = int(np.count_nonzero(tensors[layer] != sample.spikes[layer]))
            mismatches[layer] += wrong
            compared += sample.spikes[layer].size
            if wrong > bundle.manifest.sample.allowed_mismatched_spikes:
                findings.append(
                    f"{way}, layer {layer}: {wrong:,} of {sample.spikes[layer].size:,} spikes differ from the sample"
                )
        gap = float(np.abs(tensors["logits"] - sample.logits).max())
        difference = gap if np.isnan(difference) else max(difference, gap)
        if not gap <= bundle.manifest.sample.logits_atol and not sum(mismatches.values()):
            findings.append(f"{way}: logits differ from the sample by up to {gap:.3g}")
    findings += _disagreements(runs)
    return Verification(mismatches, compared, difference, tuple(findings))


def _changed_files(bundle: Bundle) -> Iterator[str]:
    for name, expected in bundle.manifest.files.items():
        path = bundle.path(name)
        if not path.is_file():
            yield f"{path}: missing"
        elif sha256(path) != expected:
            yield f"{path}: changed, its SHA-256 is not the manifest's"
    known = {MANIFEST, *bundle.manifest.files}
    for path in sorted(bundle.folder.iterdir()):
        if path.name not in known:
            yield f"{path}: not listed in the manifest"


def _unfit(manifest: Manifest, sample: Sample) -> list[str]:
    """Where the sample has not the shapes that the manifest promises."""
    batch, steps = manifest.sample.samples, manifest.steps
    leading = (steps, batch) if manifest.timed_input else (batch,)
    expected = {"inputs": (*leading, *manifest.input_shape), "logits": (batch, manifest.classes)}
    expected |= {f"spikes of {layer.name}": (steps, batch, *layer.shape) for layer in manifest.spiking_layers}
    found: dict[str, tuple[int, ...]] = {"inputs": sample.inputs.shape, "logits": sample.logits.shape}
    found |= {f"spikes of {name}": spikes.shape for name, spikes in sample.spikes.items()}
    return [
        f"{manifest.sample.file}: {name}: shape {found.get(name)} found, {shape} expected"
        for name, shape in expected.items()
        if found.get(name) != shape
    ]


def _runs(bundle: Bundle, sample: Sample) -> Iterator[tuple[str, Tensors]]:
    """Every way in which the bundle can be run, with all spikes and the logits."""
    pieces = {piece.name: piece for piece in bundle.manifest.pieces}
    layers = bundle.manifest.spiking_layers
    if "whole" in pieces:
        whole = pieces["whole"]
        yield whole.file, replay(bundle, whole, {"input": sample.inputs}, [layer.name for layer in layers])
    tensors: dict[str, NDArray[Any]] = {"input": sample.inputs}
    for name in ("encoder", "body", "head"):
        if name in pieces:
            inside = [layer.name for layer in layers if layer.part == name]
            tensors |= replay(bundle, pieces[name], tensors, inside)
    yield ", ".join(piece.file for piece in pieces.values() if piece.name != "whole"), tensors


def _disagreements(runs: dict[str, Tensors]) -> Iterator[str]:
    if len(runs) < 2:
        return
    (whole, one), (parts, other) = runs.items()
    for name in one:
        if not np.array_equal(one[name], other[name]):
            yield f"{whole} and {parts}: tensor {name} differs between the whole and its parts"
