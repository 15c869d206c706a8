"""An account of a model: what was counted, under which profiles it is priced, and what it is held against.

Held against a baseline, and against its twins without spikes.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.layer import NEVER_CALLED, InputKinds, LayerRow, MemoryAccesses, Series, exact_sum
from neurodeploy_energy.price.estimate import EnergyBreakdown, Verdict, are_graded, estimate, judge
from neurodeploy_energy.price.joules import Measurement, Unmeasured
from neurodeploy_energy.price.placement import Place, Placement, ReadoutNeurons
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_energy.price.simulated import Simulation

HOST = "cmos45-fp32+lemaire"
"""Profile of the host if none is named: with its accesses to memory, as a chip's constants have theirs."""

AnyAccount = TypeVar("AnyAccount", bound="Account")
_NOT_SUMMED = {"name", "kind", "rate", "steps", "note", "drives", "reads", "inputs", "memory", "geometry"}
_NOT_SUMMED |= {"weight_bits", "activation_bits", "pooled"}


@dataclass(frozen=True)
class Account:
    """Spikes and operations of a model, layer by layer, measured on data; energies estimated from them.

    Attributes:
        name: of the model.
        samples: number of samples that were run.
        steps: T, the largest number of steps of a spiking layer.
        layers: rows in the order of the model.
        uncounted: layer name → why its operations are missing from the counts.
        profiles: under which energies were asked for; the first is the headline. One without a cost of multiply-accumulates is
            a chip's: its energies are those of chip and host.
        comparison: with a baseline, if one was given.
        places: layer name → "encoder" or "head", which a host computes densely, or "body", which the chip does; empty if
            unknown: then the host does what is on analog values.
        host: profile of the host, for what it computes.
        readout: neurons that the chip has beside the network's.
        cut: name of the place where the network is cut behind the chip; "" if unknown.
        host_alone: it is deployed on a processor that computes all of it; `places` are then where it might be cut.
        twin: of the trained dense ReLU network that stands for this one, measured on data; None if there is none.
        answers: right answers, and samples asked; None if the labels are not known.
        measured: joules read from the machine's counters while the model ran, or why there are none.
        simulated: what simulators of a chip's architecture say of its body; in no total.
        whole: counts of the whole model by step and sample, where those of its layers are not kept (`series`).
        series: layer name → its counts by step and by sample, for layers where steps and samples can be told apart.
        on_chip: as `whole`, of what the chip computes.
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
    simulated: tuple[Simulation, ...] = ()
    whole: Series | None = field(default=None, compare=False)
    readout: ReadoutNeurons | None = None
    cut: str = ""
    host_alone: bool = False
    on_chip: Series | None = field(default=None, compare=False)

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
        computes with spikes alone: the total is then that of the chip and its host, of the network as it is cut into the two.

        Raises:
            UserError: the report was not made for this profile.
        """
        asked = next((p for p in self.profiles if p.name == profile), None)
        if asked is None:
            names = ", ".join(p.name for p in self.profiles)
            raise UserError(f"profile {profile!r}: not in this report, which has {names}")
        return estimate(self.layers, asked, self.steps, self.placement(asked))

    def placement(self, profile: Profile) -> Placement | None:
        """Where the layers run if the profile is a chip's; None for one that prices a whole network, or without a host."""
        if profile.mac is not None or self.host is None:
            return None
        return Placement(self.host, self.places, self.readout)


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
        model, baseline: the two models; None for one that the profile cannot price.
        verdict: the model against its twins without spikes.
    """

    profile: Profile
    model: float | None
    baseline: float | None
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
        """Of the model against the baseline; negative is less. None where one has no price, or the baseline costs nothing."""
        return change_percent(self.model, self.baseline)


def change_percent(energy: float | None, before: float | None) -> float | None:
    """Of one energy against another; None where one has no price, or the other costs nothing."""
    return 100 * (energy / before - 1) if before and energy is not None else None


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
    known = replace(baseline, profiles=report.profiles, comparison=None, host=report.host)
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
    return tuple(judge(report.layers, profile, report.steps, twin, report.placement(profile)) for profile in report.profiles)


def has_twins(report: Account) -> bool:
    """Whether there is anything to judge: a network without spikes is its own twin; one of graded messages, or one that is not
    known whole, has none."""
    known = all(reason == NEVER_CALLED for reason in report.uncounted.values())
    return known and any(row.kind == "neuron" or row.sops for row in report.layers) and not are_graded(report.layers)
