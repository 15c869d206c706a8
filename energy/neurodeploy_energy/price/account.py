"""An account of a model: what was counted, under which profiles it is priced, and what it is held against.

Held against a baseline, against its twins without spikes, and cut into what a chip and what a host computes.
"""

from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.layer import NEVER_CALLED, InputKinds, LayerRow, MemoryAccesses, Series, exact_sum
from neurodeploy_energy.price.estimate import EnergyBreakdown, Verdict, estimate, judge
from neurodeploy_energy.price.joules import Measurement, Unmeasured
from neurodeploy_energy.price.profiles import Profile

Place = Literal["encoder", "body", "head"]


HOST = "cmos45-fp32"
"""Profile of the host if none is named."""

AnyAccount = TypeVar("AnyAccount", bound="Account")
_NOT_SUMMED = {"name", "kind", "rate", "steps", "note", "drives", "inputs", "memory", "geometry"}


@dataclass(frozen=True)
class Account:
    """Spikes and operations of a model, layer by layer, measured on data; energies estimated from them.

    Attributes:
        name: of the model.
        samples: number of samples that were run.
        steps: T, the largest number of steps of a spiking layer.
        layers: rows in the order of the model.
        uncounted: layer name → why its operations are missing from the counts.
        profiles: under which energies were asked for; the first is the headline.
        comparison: with a baseline, if one was given.
        places: layer name → "encoder" or "head", which a host computes densely, or "body", which the chip does; empty if
            unknown.
        host: profile of the host, for the layers that it computes.
        twin: of the trained dense ReLU network that stands for this one, measured on data; None if there is none.
        answers: right answers, and samples asked; None if the labels are not known.
        measured: joules read from the machine's counters while the model ran, or why there are none.
        whole: counts of the whole model by step and sample, where those of its layers are not kept (`series`).
        series: layer name → its counts by step and by sample, for layers where steps and samples can be told apart.
    """

    name: str
    samples: int
    steps: int
    layers: tuple[LayerRow, ...]
    uncounted: dict[str, str]
    profiles: tuple[Profile, ...]
    comparison: "Comparison | None" = None
    series: dict[str, Series] = field(default_factory=dict, compare=False)
    places: dict[str, Place] = field(default_factory=dict)
    host: Profile | None = None
    twin: "Account | None" = None
    answers: tuple[int, int] | None = None
    measured: tuple[Measurement | Unmeasured, ...] = ()
    whole: Series | None = field(default=None, compare=False)

    @property
    def total(self) -> LayerRow:
        """Sum over the layers; `rate` is over all neurons, `steps` is T."""
        names = [one.name for one in fields(LayerRow) if one.name not in _NOT_SUMMED]
        sums: dict[str, Any] = {name: exact_sum(getattr(row, name) for row in self.layers) for name in names}
        inputs = sum((row.inputs for row in self.layers), InputKinds())
        memory = sum((row.memory for row in self.layers), MemoryAccesses())
        slots = exact_sum(row.neurons * row.steps for row in self.layers)
        spikes = sums["spikes"]
        rate = spikes / slots if slots else 0.0
        return replace(LayerRow("total", "total"), **sums, inputs=inputs, memory=memory, steps=float(self.steps), rate=rate)

    def layer(self, name: str) -> LayerRow:
        """One row by its name.

        Raises:
            UserError: there is no such layer; those that there are are named.
        """
        for row in self.layers:
            if row.name == name:
                return row
        raise UserError(f"layer {name!r}: not in this report, which has {', '.join(row.name for row in self.layers)}")

    def energy(self, profile: str) -> EnergyBreakdown:
        """Estimated energy under one of the report's profiles: see `estimate`.

        Synaptic operations count weights of zero too, MACs are dense. A profile without a MAC cost is that of a chip which
        computes with spikes alone: work on analog values is then left out of the total and listed in `left_out`.

        Raises:
            UserError: the report was not made for this profile.
        """
        asked = next((p for p in self.profiles if p.name == profile), None)
        if asked is None:
            names = ", ".join(p.name for p in self.profiles)
            raise UserError(f"profile {profile!r}: not in this report, which has {names}")
        return estimate(self.layers, asked, self.steps)


@dataclass(frozen=True)
class LayerPair:
    """One layer in both models; None where a model has no such layer."""

    name: str
    model: LayerRow | None
    baseline: LayerRow | None

    def difference(self, field: str) -> float:
        """Of one count, the model's minus the baseline's; a layer that is not there counts nothing."""
        ours, theirs = (0.0 if row is None else getattr(row, field) for row in (self.model, self.baseline))
        return float(ours - theirs)


@dataclass(frozen=True)
class EnergyPair:
    """Estimated energies per sample under one profile, in µJ.

    Attributes:
        model, baseline: the two spiking models.
        verdict: the model against its twins without spikes.
    """

    profile: Profile
    model: float
    baseline: float
    verdict: Verdict

    @property
    def twin(self) -> float | None:
        """The model's dense ReLU twin; see `Verdict`."""
        return self.verdict.dense_uj

    @property
    def break_even_rate(self) -> float | None:
        """See `Verdict`."""
        return self.verdict.break_even_rate

    @property
    def change_percent(self) -> float | None:
        """Of the model against the baseline; negative is less."""
        return 100 * (self.model / self.baseline - 1) if self.baseline else None


@dataclass(frozen=True)
class Comparison:
    """A model against a baseline.

    Attributes:
        baseline: the other report.
        layers: matched by name, in the order of the model, then those that only the baseline has.
        energies: one per profile.
    """

    baseline: Account
    layers: tuple[LayerPair, ...]
    energies: tuple[EnergyPair, ...]


def compare(report: Account, baseline: Account) -> Comparison:
    """Compare a model with a baseline under the profiles of `report`."""
    ours = {row.name: row for row in report.layers}
    theirs = {row.name: row for row in baseline.layers}
    names = [*ours, *(name for name in theirs if name not in ours)]
    pairs = tuple(LayerPair(name, ours.get(name), theirs.get(name)) for name in names)
    known = replace(baseline, profiles=report.profiles, comparison=None)
    energies = tuple(
        EnergyPair(verdict.profile, verdict.model_uj, known.energy(verdict.profile.name).total_uj, verdict)
        for verdict in verdicts(report)
    )
    return Comparison(known, pairs, energies)


def with_twin(report: AnyAccount, twin: Account) -> AnyAccount:
    """The report, judged against its measured ReLU twin: with the twin's layers, and the zeros that its ReLUs make."""
    judged = replace(report, twin=twin)
    return judged if report.comparison is None else replace(judged, comparison=compare(judged, report.comparison.baseline))


def verdicts(report: Account) -> tuple[Verdict, ...]:
    """One for each profile of a report, in their order; against the report's measured twin if it has one."""
    twin = None if report.twin is None else report.twin.layers
    return tuple(judge(report.layers, profile, report.steps, twin) for profile in report.profiles)


def has_twins(report: Account) -> bool:
    """Whether there is anything to judge: a network without spikes is its own twin; one that is not known whole has none."""
    known = all(reason == NEVER_CALLED for reason in report.uncounted.values())
    return known and any(row.kind == "neuron" or row.sops for row in report.layers)


@dataclass(frozen=True)
class DeploymentEnergy:
    """Estimated energy per sample in µJ, part by part.

    Attributes:
        chip: profile of the chip.
        host: profile of the host.
        chip_uj: the body, under the chip's profile.
        encoder_macs, head_macs: dense multiply-accumulates on the host, before and behind the chip. A neuron's update on the
            host is one of them.
        encoder_uj, head_uj: the same under the host's profile.
        static_uj: of the chip, while the steps of a sample last; None if its profile does not say.
        left_out: of the body, what the chip's profile gives no cost for.
    """

    chip: Profile
    host: Profile
    chip_uj: float
    encoder_macs: float
    head_macs: float
    encoder_uj: float
    head_uj: float
    static_uj: float | None
    left_out: tuple[str, ...]

    @property
    def host_uj(self) -> float:
        """Encoder and head."""
        return self.encoder_uj + self.head_uj


def deployment(report: Account, chip: Profile, host: Profile) -> DeploymentEnergy | None:
    """What each part costs where it runs; None if the report does not know which layers run where.

    Layers of which it is not known are taken to be on the chip.

    Raises:
        UserError: the host's profile has no cost of a multiply-accumulate.
    """
    if not report.places:
        return None
    if host.mac is None:
        raise UserError(f"profile {host.name}: a host computes densely, and it gives no cost_pj.mac; choose another")
    parts: dict[str, list[LayerRow]] = {"encoder": [], "body": [], "head": []}
    for row in report.layers:
        parts[report.places.get(row.name, "body")].append(row)
    encoder, head = (exact_sum(map(host_macs, parts[place])) for place in ("encoder", "head"))
    body = estimate(parts["body"], chip, report.steps)
    price = host.mac * 1e-6
    return DeploymentEnergy(
        chip, host, body.total_uj, encoder, head, price * encoder, price * head, body.static_uj, body.left_out
    )


def host_macs(row: LayerRow) -> float:
    """Multiply-accumulates of a layer that a host evaluates densely, zeros and all."""
    return row.dense_macs + row.updates_active + row.updates_idle


def model_series(report: Account) -> Series | None:
    """Counts of the whole model: spikes of its neurons, operations of its synapses; None if they are not kept by sample."""
    if report.whole is not None or not report.series:
        return report.whole
    neurons = {row.name for row in report.layers if row.kind == "neuron"}
    spiking = [one for name, one in report.series.items() if name in neurons]
    synapses = [one for name, one in report.series.items() if name not in neurons]
    none = torch.zeros(report.samples, dtype=torch.int64)
    steps = zip_longest(*(one.spikes_per_step.tolist() for one in spiking), fillvalue=0)
    return Series(
        torch.tensor([sum(step) for step in steps], dtype=torch.int64),
        sum((one.spikes_per_sample for one in spiking), none),
        sum((one.sops_per_sample for one in synapses), none),
        sum((one.macs_per_sample for one in synapses), none),
    )


def energy_per_sample(report: Account, profile: Profile) -> NDArray[np.float64]:
    """Estimated energy of every sample, µJ `[N]`; `[1]`, the mean, if the counts are not kept by sample.

    Neuron updates and sums stand at their mean, and memory accesses by spikes follow the synaptic operations, so that the mean
    over the samples is the report's total.
    """
    breakdown, kept = estimate(report.layers, profile, report.steps), model_series(report)
    if kept is None:
        return np.array([breakdown.total_uj])
    driven = {row.name for row in report.layers if row.sops}
    memory = exact_sum(layer.memory + layer.addresses for layer in breakdown.layers if layer.name in driven)
    sops = _around_mean(kept.sops_per_sample)
    mean = float(kept.sops_per_sample.double().mean())
    picojoules = (profile.ac or 0.0) * sops + (memory / mean * sops if mean else 0.0)
    picojoules += (profile.mac or 0.0) * _around_mean(kept.macs_per_sample)
    picojoules += (profile.spike or 0.0) * _around_mean(kept.spikes_per_sample)
    return np.asarray(breakdown.total_uj + picojoules * 1e-6)


def _around_mean(counts: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = counts.double().numpy()
    return np.asarray(values - values.mean())
