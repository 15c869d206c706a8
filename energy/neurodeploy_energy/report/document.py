"""The report as JSON, with a versioned schema: everything that the other formats show, unrounded; and back from its file.

`report.schema.json` says the same in JSON Schema.
"""

import json
from dataclasses import asdict, replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neurodeploy.errors import UserError
from neurodeploy_energy.count.layer import InputKinds, LayerRow, MemoryAccesses, Series, SynapseGeometry
from neurodeploy_energy.price.account import (
    Account,
    AnyAccount,
    DeploymentEnergy,
    compare,
    deployment,
    has_twins,
    model_series,
    verdicts,
)
from neurodeploy_energy.price.estimate import Verdict
from neurodeploy_energy.price.joules import Measurement, Unmeasured
from neurodeploy_energy.price.memory import MemoryModel
from neurodeploy_energy.price.profiles import Profile

SCHEMA_VERSION = 2
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class ReportPart(BaseModel):
    """Nothing unknown in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InputKindsPart(ReportPart):
    """See `InputKinds`."""

    zeros: Count
    spikes: Count
    graded: Count
    analog: Count


class MemoryPart(ReportPart):
    """See `MemoryAccesses`."""

    input_reads: Count
    weight_reads: Count
    potential_reads: Count
    potential_writes: Count
    output_writes: Count


class GeometryPart(ReportPart):
    """See `Geometry`."""

    kind: Literal["conv", "transposed", "linear"]
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = Field(ge=1)
    input: tuple[int, ...]
    output: tuple[int, ...]
    bias: bool
    leaky: bool | None


class LayerPart(ReportPart):
    """One layer per sample; see `LayerRow`."""

    name: str
    kind: str
    neurons: int
    steps: Count
    spikes: Count
    rate: Count
    sops: Count
    sops_nonzero_weights: Count
    sops_by_rate: Count
    dense_macs: Count
    macs: Count
    effective_macs: Count
    adds: Count
    analog_adds: Count
    updates_active: Count
    updates_idle: Count
    note: str
    spikes_in: Count
    spikes_out: Count
    spikes_value: Count
    drives: str
    inputs: InputKindsPart
    memory: MemoryPart
    geometry: GeometryPart | None


class MemoryModelPart(ReportPart):
    """See `MemoryModel`."""

    name: str
    title: str
    source: str
    note: str
    per_bit: Count
    fixed: Count


class ProfilePart(ReportPart):
    """See `Profile`; costs in pJ."""

    name: str
    title: str
    source: str
    year: int
    process: str
    voltage: str
    scope: Literal["operation", "core", "system"]
    basis: Literal["measured", "simulated", "estimated"]
    mac: Count | None
    ac: Count | None
    neuron_update_active: Count | None
    neuron_update_idle: Count | None
    spike: Count | None
    note: str
    all_in: bool
    numbers: Literal["float", "integer", ""]
    bits: int | None
    multiply: Count | None
    static_mw: Count | None
    step_us: Count | None
    memory: MemoryModelPart | None


class EnergyPart(ReportPart):
    """Under one profile, in µJ per sample. `static_uj` is not in the total."""

    profile: ProfilePart
    estimate: Literal[True]
    total_uj: Count
    static_uj: Count | None
    layers_uj: dict[str, Count]
    left_out: list[str]


class VerdictPart(ReportPart):
    """See `Verdict`."""

    profile: str
    estimate: Literal[True]
    spiking_uj: Count
    dense_twin_uj: Count | None
    quantised_twin_uj: Count | None
    quantised_twin_bits: int
    twin_sparsity: Number
    twin_measured: bool
    break_even_rate: Count | None


class DeploymentPart(ReportPart):
    """See `Deployment`."""

    profile: str
    host_profile: str
    estimate: Literal[True]
    chip_uj: Count
    chip_static_uj: Count | None
    encoder_macs: Count
    head_macs: Count
    encoder_uj: Count
    head_uj: Count
    left_out: list[str]


class MeasurementPart(ReportPart):
    """See `Measurement`."""

    device: str
    counter: str
    uj: Number
    half_width: Number
    gross_uj: Number
    idle_w: Number
    repeats: int
    seconds: Count
    samples: int


class UnmeasuredPart(ReportPart):
    """See `Unmeasured`."""

    device: str
    reason: str


class PerSamplePart(ReportPart):
    """Counts of the whole model for every sample, in their order; and spikes of each layer in every step, over all samples."""

    spikes: list[int]
    sops: list[int]
    macs: list[int]
    spikes_per_step: dict[str, list[int]]


class ComparisonPart(ReportPart):
    """The model against the baseline under one profile, µJ per sample."""

    profile: str
    estimate: Literal[True]
    model_uj: Count
    baseline_uj: Count
    change_percent: Number | None


class AnswersPart(ReportPart):
    """Right answers of all samples asked."""

    correct: int = Field(ge=0)
    samples: int = Field(ge=1)


class Document(ReportPart):
    """A whole report; see `Report`."""

    schema_version: Literal[2]
    name: str
    samples: int = Field(ge=1)
    steps: int = Field(ge=0)
    unit: Literal["per sample"]
    answers: AnswersPart | None
    layers: list[LayerPart]
    total: LayerPart
    energy: list[EnergyPart]
    verdicts: list[VerdictPart]
    places: dict[str, Literal["encoder", "body", "head"]]
    host: ProfilePart | None
    deployment: list[DeploymentPart]
    measured: list[MeasurementPart | UnmeasuredPart]
    uncounted: dict[str, str]
    per_sample: PerSamplePart | None
    comparison: list[ComparisonPart] | None
    baseline: "Document | None"
    twin: "Document | None"


def json_schema() -> dict[str, Any]:
    """In JSON Schema, draft 2020-12."""
    found = Document.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "neurodeploy energy report", **found}


def as_document(report: Account) -> dict[str, Any]:
    """Plain dictionaries and lists. Energies are in µJ per sample; estimates are marked as such, measured ones apart."""
    comparison = report.comparison
    return {
        "schema_version": SCHEMA_VERSION,
        "name": report.name,
        "samples": report.samples,
        "steps": report.steps,
        "unit": "per sample",
        "answers": None if report.answers is None else dict(zip(("correct", "samples"), report.answers, strict=True)),
        "layers": [asdict(row) for row in report.layers],
        "total": asdict(report.total),
        "energy": [_energy(report, profile.name) for profile in report.profiles],
        "verdicts": [_verdict(verdict, measured=report.twin is not None) for verdict in verdicts(report) if has_twins(report)],
        "places": report.places,
        "host": None if report.host is None else asdict(report.host),
        "deployment": _deployment(report),
        "measured": [asdict(one) for one in report.measured],
        "uncounted": report.uncounted,
        "per_sample": _per_sample(report),
        "comparison": None
        if comparison is None
        else [
            {
                "profile": pair.profile.name,
                "estimate": True,
                "model_uj": pair.model,
                "baseline_uj": pair.baseline,
                "change_percent": pair.change_percent,
            }
            for pair in comparison.energies
        ],
        "baseline": None if comparison is None else as_document(comparison.baseline),
        "twin": None if report.twin is None else as_document(report.twin),
    }


def as_json(report: Account) -> str:
    return json.dumps(as_document(report), indent=2, ensure_ascii=False) + "\n"


def _energy(report: Account, profile: str) -> dict[str, Any]:
    breakdown = report.energy(profile)
    return {
        "profile": asdict(breakdown.profile),
        "estimate": True,
        "total_uj": breakdown.total_uj,
        "static_uj": breakdown.static_uj,
        "layers_uj": {layer.name: layer.total * 1e-6 for layer in breakdown.layers},
        "left_out": list(breakdown.left_out),
    }


def _verdict(verdict: Verdict, *, measured: bool) -> dict[str, Any]:
    return {
        "profile": verdict.profile.name,
        "estimate": True,
        "spiking_uj": verdict.model_uj,
        "dense_twin_uj": verdict.dense_uj,
        "quantised_twin_uj": verdict.quantised_uj,
        "quantised_twin_bits": verdict.bits,
        "twin_sparsity": verdict.sparsity,
        "twin_measured": measured,
        "break_even_rate": verdict.break_even_rate,
    }


def _deployment(report: Account) -> list[dict[str, Any]]:
    if report.host is None:
        return []
    found = [deployment(report, profile, report.host) for profile in report.profiles]
    return [_deployed(one) for one in found if one is not None]


def _deployed(one: DeploymentEnergy) -> dict[str, Any]:
    return {
        "profile": one.chip.name,
        "host_profile": one.host.name,
        "estimate": True,
        "chip_uj": one.chip_uj,
        "chip_static_uj": one.static_uj,
        "encoder_macs": one.encoder_macs,
        "head_macs": one.head_macs,
        "encoder_uj": one.encoder_uj,
        "head_uj": one.head_uj,
        "left_out": list(one.left_out),
    }


def _per_sample(report: Account) -> dict[str, Any] | None:
    """Sums over the layers, so that a data set of any size stays a small file."""
    total = model_series(report)
    if total is None:
        return None
    neurons = {row.name for row in report.layers if row.kind == "neuron"}
    return {
        "spikes": total.spikes_per_sample.tolist(),
        "sops": total.sops_per_sample.tolist(),
        "macs": total.macs_per_sample.tolist(),
        "spikes_per_step": {name: one.spikes_per_step.tolist() for name, one in report.series.items() if name in neurons},
    }


def read_account(path: Path, kind: type[AnyAccount]) -> AnyAccount:
    """Read a `report.json`, as an account of some kind.

    Spikes of single layers by sample are not in such a file; those of the whole model are, and those of each layer by step.

    Raises:
        UserError: it is missing, damaged, or of another schema version; the first field at fault is named.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a report.json written by `neurodeploy energy` is expected") from None
    try:
        return _read(Document.model_validate_json(content), kind)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        version = f", of schema version {SCHEMA_VERSION}," if place == "schema_version" else ""
        raise UserError(
            f"{path}: {place}: {first['msg']}; a report.json{version} written by this version is expected"
        ) from None


def _read(found: Document, kind: type[AnyAccount]) -> AnyAccount:
    report = kind(
        name=found.name,
        samples=found.samples,
        steps=found.steps,
        layers=tuple(map(_row, found.layers)),
        uncounted=found.uncounted,
        profiles=tuple(_profile(one.profile) for one in found.energy),
        series=_steps(found),
        places=dict(found.places),
        host=None if found.host is None else _profile(found.host),
        twin=None if found.twin is None else _read(found.twin, kind),
        answers=None if found.answers is None else (found.answers.correct, found.answers.samples),
        measured=tuple(
            Unmeasured(**_values(one)) if isinstance(one, UnmeasuredPart) else Measurement(**_values(one))
            for one in found.measured
        ),
        whole=_whole(found),
    )
    if found.baseline is None:
        return report
    return replace(report, comparison=compare(report, _read(found.baseline, kind)))


def _steps(found: Document) -> dict[str, Series]:
    """Layers by step; by sample they are not in the file."""
    kept, none = {} if found.per_sample is None else found.per_sample.spikes_per_step, torch.empty(0, dtype=torch.int64)
    return {name: Series(torch.tensor(steps, dtype=torch.int64), none, none, none) for name, steps in kept.items()}


def _whole(found: Document) -> Series | None:
    kept = found.per_sample
    if kept is None:
        return None
    steps = [sum(step) for step in zip_longest(*kept.spikes_per_step.values(), fillvalue=0)]
    return Series(*(torch.tensor(column, dtype=torch.int64) for column in (steps, kept.spikes, kept.sops, kept.macs)))


def _row(part: LayerPart) -> LayerRow:
    values = _values(part)
    values["inputs"], values["memory"] = InputKinds(**values["inputs"]), MemoryAccesses(**values["memory"])
    values["geometry"] = None if values["geometry"] is None else SynapseGeometry(**values["geometry"])
    return LayerRow(**values)


def _profile(part: ProfilePart) -> Profile:
    values = _values(part)
    values["memory"] = None if values["memory"] is None else MemoryModel(**values["memory"])
    return Profile(**values)


def _values(part: BaseModel) -> dict[str, Any]:
    return part.model_dump()
