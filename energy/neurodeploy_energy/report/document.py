"""The report as JSON, with a versioned schema: everything that the other formats show, unrounded; and back from its file.

What is counted and measured is written as its own dataclasses say; the classes here say the rest of the file. The same in JSON
Schema is `report.schema.json`.
"""

import json
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import torch

from neurodeploy.io.errors import UserError, field_name
from neurodeploy.io.json_text import json_text
from neurodeploy.io.reading import contents
from neurodeploy_energy.count.layer import LayerRow, Series
from neurodeploy_energy.declared import Count, Declared, FaultyField, Natural, Number, Positive
from neurodeploy_energy.price.account import Account, AnyAccount, compare, has_twins, verdicts
from neurodeploy_energy.price.deployment import deployment
from neurodeploy_energy.price.joules import Measurement, Unmeasured
from neurodeploy_energy.price.per_sample import chip_series, model_series
from neurodeploy_energy.price.placement import Place, ReadoutNeurons
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.price.reconciliation import Ledger, reconcile
from neurodeploy_energy.price.simulated import Simulation

SCHEMA_VERSION: Literal[3] = 3
Estimate = Literal[True]


@dataclass(frozen=True)
class EnergyEntry(Declared):
    """Under one profile, in µJ per sample; of chip and host if `host_profile` is given. `static_uj` is not in the total."""

    profile: Profile
    host_profile: str | None
    estimate: Estimate
    total_uj: Count | None
    static_uj: Count | None
    layers_uj: dict[str, Count]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class VerdictEntry(Declared):
    """See `Verdict`."""

    profile: str
    estimate: Estimate
    spiking_uj: Count | None
    dense_twin_uj: Count | None
    quantised_twin_uj: Count | None
    quantised_twin_bits: int
    twin_sparsity: Number
    twin_measured: bool
    break_even_rate: Count | None
    spikes_allowed: Number | None
    break_even_rate_in_all: Number | None
    quantised_rate_in_all: Number | None


@dataclass(frozen=True)
class DeploymentEntry(Declared):
    """See `DeploymentEnergy`."""

    profile: str
    host_profile: str
    estimate: Estimate
    total_uj: Count | None
    chip_uj: Count
    chip_static_uj: Count | None
    encoder_macs: Count
    head_macs: Count
    encoder_uj: Count
    head_uj: Count
    event_driven_uj: Count | None
    graded_values: Count
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class ComparisonEntry(Declared):
    """The model against the baseline under one profile, µJ per sample."""

    profile: str
    estimate: Estimate
    model_uj: Count | None
    baseline_uj: Count | None
    change_percent: Number | None


@dataclass(frozen=True)
class PerSample(Declared):
    """Counts of the whole model for every sample, in their order, and of what a chip computes of it; and spikes of each layer
    in every step, over all samples."""

    spikes: list[int]
    sops: list[int]
    macs: list[int]
    chip_spikes: list[int] | None
    chip_sops: list[int] | None
    spikes_per_step: dict[str, list[int]]


@dataclass(frozen=True)
class Answers(Declared):
    """Right answers of all samples asked."""

    correct: Natural
    samples: Positive


@dataclass(frozen=True)
class Document(Declared):
    """A whole report; see `Account`."""

    schema_version: Literal[3]
    name: str
    samples: Positive
    steps: Natural
    unit: Literal["per sample"]
    answers: Answers | None
    layers: tuple[LayerRow, ...]
    total: LayerRow
    energy: tuple[EnergyEntry, ...]
    verdicts: tuple[VerdictEntry, ...]
    places: dict[str, Place]
    host: Profile | None
    readout: ReadoutNeurons | None
    cut: str
    host_alone: bool
    deployment: tuple[DeploymentEntry, ...]
    measured: tuple[Measurement | Unmeasured, ...]
    other_tools: tuple[Ledger, ...]
    simulated: tuple[Simulation, ...]
    uncounted: dict[str, str]
    per_sample: PerSample | None
    comparison: tuple[ComparisonEntry, ...] | None
    baseline: "Document | None"
    twin: "Document | None"


def json_schema() -> dict[str, Any]:
    """Of a report's file, in JSON Schema, draft 2020-12."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "neurodeploy energy report"}
    return schema | Document.json_schema()


def document_of(report: Account) -> Document:
    """What is written. Energies are in µJ per sample; estimates are marked as such, measured ones apart."""
    comparison = report.comparison
    return Document(
        schema_version=SCHEMA_VERSION,
        name=report.name,
        samples=report.samples,
        steps=report.steps,
        unit="per sample",
        answers=None if report.answers is None else Answers(*report.answers),
        layers=report.layers,
        total=report.total,
        energy=tuple(_energy(report, profile.name) for profile in report.profiles),
        verdicts=_verdicts(report),
        places=report.places,
        host=report.host,
        readout=report.readout,
        cut=report.cut,
        host_alone=report.host_alone,
        deployment=_deployments(report),
        measured=report.measured,
        other_tools=reconcile(report.layers, report.steps),
        simulated=report.simulated,
        uncounted=report.uncounted,
        per_sample=_per_sample(report),
        comparison=None
        if comparison is None
        else tuple(
            ComparisonEntry(pair.profile.name, True, pair.model, pair.baseline, pair.change_percent)
            for pair in comparison.energies
        ),
        baseline=None if comparison is None else document_of(comparison.baseline),
        twin=None if report.twin is None else document_of(report.twin),
    )


def as_json(report: Account, *, indent: int | None = 2) -> str:
    """The text of a `report.json`; `indent`: see `json_text`."""
    return json_text(asdict(document_of(report)), indent)


def _energy(report: Account, profile: str) -> EnergyEntry:
    breakdown = report.energy(profile)
    layers = {layer.name: layer.total * 1e-6 for layer in breakdown.layers}
    host = None if breakdown.host is None else breakdown.host.name
    return EnergyEntry(breakdown.profile, host, True, breakdown.total_uj, breakdown.static_uj, layers, breakdown.left_out)


def _verdicts(report: Account) -> tuple[VerdictEntry, ...]:
    if not has_twins(report):
        return ()
    measured = report.twin is not None
    return tuple(
        VerdictEntry(
            v.profile.name,
            True,
            v.model_uj,
            v.dense_uj,
            v.quantised_uj,
            v.bits,
            v.sparsity,
            measured,
            v.break_even_rate,
            v.spikes_allowed,
            v.break_even_rate_in_all,
            v.quantised_rate_in_all,
        )
        for v in verdicts(report)
    )


def _deployments(report: Account) -> tuple[DeploymentEntry, ...]:
    if report.host is None:
        return ()
    return tuple(
        DeploymentEntry(
            profile=parts.chip.name,
            host_profile=parts.host.name,
            estimate=True,
            total_uj=parts.total_uj,
            chip_uj=parts.chip_uj,
            chip_static_uj=parts.static_uj,
            encoder_macs=parts.encoder_macs,
            head_macs=parts.head_macs,
            encoder_uj=parts.encoder_uj,
            head_uj=parts.head_uj,
            event_driven_uj=parts.event_driven_uj,
            graded_values=parts.graded_values,
            left_out=parts.left_out,
        )
        for profile in report.profiles
        if (parts := deployment(report, profile, report.host)) is not None
    )


def _per_sample(report: Account) -> PerSample | None:
    """Sums over the layers, so that a data set of any size stays a small file."""
    total, chip = model_series(report), chip_series(report)
    if total is None:
        return None
    neurons = {row.name for row in report.layers if row.kind == "neuron"}
    steps = {name: one.spikes_per_step.tolist() for name, one in report.series.items() if name in neurons}
    columns = (total.spikes_per_sample, total.sops_per_sample, total.macs_per_sample)
    spikes, sops, macs = (column.tolist() for column in columns)
    chip_spikes, chip_sops = (None, None) if chip is None else (chip.spikes_per_sample.tolist(), chip.sops_per_sample.tolist())
    return PerSample(spikes, sops, macs, chip_spikes, chip_sops, steps)


def read_account(path: Path, kind: type[AnyAccount]) -> AnyAccount:
    """Read a `report.json`, as an account of some kind.

    Spikes of single layers by sample are not in such a file; those of the whole model are, and those of each layer by step.

    Raises:
        UserError: it is missing, damaged, or of another schema version; the first field at fault is named.
    """
    content: str | bytes = contents(path, "a report.json written by `neurodeploy energy`")
    _check_whole_numbers(path, content)
    try:
        document = Document.from_json(_migrated(content))
        _check_lengths(path, document, "")
        return _account(document, kind)
    except FaultyField as fault:
        version = f", of schema version {SCHEMA_VERSION}," if fault.path == "schema_version" else ""
        raise UserError(f"{path}: {fault}; a report.json{version} written by this version is expected") from None


_LARGEST_WHOLE = 2**53


def _check_lengths(path: Path, report: Document, place: str) -> None:
    """Refuse counts by sample of more or fewer samples than the report says, also in the reports within it.

    Raises:
        UserError: there are; the list is named.
    """
    kept = report.per_sample
    for name in () if kept is None else ("spikes", "sops", "macs", "chip_spikes", "chip_sops"):
        values = getattr(kept, name)
        if values is not None and len(values) != report.samples:
            found = f"{len(values):,} values found, {report.samples:,} expected, one for each sample"
            raise UserError(f"{path}: {place}per_sample.{name}: {found}; damaged")
    for name, inner in (("baseline", report.baseline), ("twin", report.twin)):
        if inner is not None:
            _check_lengths(path, inner, f"{place}{name}.")


def _check_whole_numbers(path: Path, content: str | bytes) -> None:
    """Refuse a count that a float does not hold: it would be another one in whatever reads the file.

    Raises:
        UserError: there is one; it is named.
    """
    try:
        waiting: list[tuple[tuple[object, ...], Any]] = [((), json.loads(content))]
    except (ValueError, RecursionError):
        return  # what is wrong is said by who reads it
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict | list):
            members = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [((*place, key), member) for key, member in members]
        elif isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
            raise UserError(f"{path}: {field_name(place)}: a whole number beyond 2^53 found, which no float holds; damaged")


def _migrated(content: str | bytes) -> str | bytes:
    """A file of schema version 2, or an early one of 3, as it is now: its counts and profiles; costs are worked out anew.

    Such a report does not say which layers a chip computes but where it was deployed, and knows no read-out neurons.
    """
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(values, dict):
        return content
    made = _with_simulations(_of_version_2(values) if values.get("schema_version") == 2 else values)
    return content if made == values else json.dumps(made)


def _with_simulations(values: dict[str, Any]) -> dict[str, Any]:
    """A report of before there were any: it has none."""
    within = {name: _with_simulations(values[name]) for name in ("baseline", "twin") if isinstance(values.get(name), dict)}
    return {"simulated": []} | values | within


def _of_version_2(values: dict[str, Any]) -> dict[str, Any]:
    """One report of such a file; what is no report is left for the check to refuse."""
    integers: dict[str, Any]
    widths: dict[str, Any]
    integers = {"integer_multiply": None, "integer_ac": None}
    widths = {"weight_bits": 0, "activation_bits": 0, "reads": [], "pairs": 0.0, "pooled": False}
    made = values | {"schema_version": SCHEMA_VERSION, "readout": None, "cut": "", "host_alone": False}
    for field in ("energy", "verdicts"):
        unknown = {"spikes_allowed": None, "break_even_rate_in_all": None, "quantised_rate_in_all": None}
        added = {"host_profile": None} if field == "energy" else unknown
        if isinstance(values.get(field), list):
            made[field] = [entry | added if isinstance(entry, dict) else entry for entry in values[field]]
            for entry in made[field]:
                if isinstance(entry, dict) and isinstance(entry.get("profile"), dict):
                    entry["profile"] = integers | entry["profile"]
    made["deployment"], made["other_tools"] = [], []
    if isinstance(values.get("layers"), list):
        made["layers"] = [widths | _folding(row) | row if isinstance(row, dict) else row for row in values["layers"]]
    for field, missing in (("total", widths), ("host", integers)):
        if isinstance(values.get(field), dict):
            made[field] = missing | values[field]
    if isinstance(values.get("per_sample"), dict):
        made["per_sample"] = values["per_sample"] | {"chip_spikes": None, "chip_sops": None}
    for field in ("baseline", "twin"):
        if isinstance(values.get(field), dict):
            made[field] = _of_version_2(values[field])
    return made


def _folding(row: dict[str, Any]) -> dict[str, Any]:
    """Whether a layer read means of a pool: its note said so, and no field did."""
    return {"pooled": "which is folded in" in str(row.get("note", ""))}


def _account(file: Document, kind: type[AnyAccount]) -> AnyAccount:
    account = kind(
        name=file.name,
        samples=file.samples,
        steps=file.steps,
        layers=file.layers,
        uncounted=file.uncounted,
        profiles=tuple(entry.profile for entry in file.energy),
        series=_by_step(file),
        places=file.places,
        host=file.host,
        twin=None if file.twin is None else _account(file.twin, kind),
        answers=None if file.answers is None else (file.answers.correct, file.answers.samples),
        measured=file.measured,
        simulated=file.simulated,
        whole=_whole(file),
        readout=file.readout,
        cut=file.cut,
        host_alone=file.host_alone,
        on_chip=_on_chip(file),
    )
    if file.baseline is None:
        return account
    return replace(account, comparison=compare(account, _account(file.baseline, kind)))


def _by_step(file: Document) -> dict[str, Series]:
    """Layers by step; by sample they are not in the file."""
    kept, none = {} if file.per_sample is None else file.per_sample.spikes_per_step, torch.empty(0, dtype=torch.int64)
    return {name: Series(torch.tensor(steps, dtype=torch.int64), none, none, none) for name, steps in kept.items()}


def _whole(file: Document) -> Series | None:
    kept = file.per_sample
    if kept is None:
        return None
    steps = [sum(step) for step in zip_longest(*kept.spikes_per_step.values(), fillvalue=0)]
    return Series(*(torch.tensor(column, dtype=torch.int64) for column in (steps, kept.spikes, kept.sops, kept.macs)))


def _on_chip(file: Document) -> Series | None:
    kept = file.per_sample
    if kept is None or kept.chip_spikes is None or kept.chip_sops is None:
        return None
    columns = (kept.chip_spikes, kept.chip_sops, [0] * len(kept.chip_sops))
    return Series(torch.empty(0, dtype=torch.int64), *(torch.tensor(column, dtype=torch.int64) for column in columns))
