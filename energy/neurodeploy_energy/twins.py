"""The networks without spikes that a spiking one has to beat: its dense ReLU twin, and that twin with few-bit activations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodeploy_energy.cost import Profile
from neurodeploy_energy.memory_model import dense

if TYPE_CHECKING:
    from neurodeploy_energy.result import Report


@dataclass(frozen=True)
class Verdict:
    """A spiking model against its twins under one profile; energies are estimates in µJ per sample.

    Attributes:
        profile: under which all of them are estimated.
        model_uj: the spiking model.
        dense_uj: its dense ReLU twin: one evaluation of every synapse layer; None if the profile has no MAC cost.
        quantised_uj: the twin with activations of `bits`: as many levels as a neuron has spike counts in T steps. None if the
            profile is not one of integers.
        bits: ⌈log2(T + 1)⌉ (Yan et al., arXiv 2409.08290).
        sparsity: γ, the share of the twins' multiply-accumulates that meet a zero; 0 where the twin was not measured.
        break_even_rate: firing rate at which the model costs as much as its dense twin in arithmetic, if every layer fired
            alike: `T · rate · E_AC = E_MAC · (1 − γ)`; None if the profile lacks a cost.
    """

    profile: Profile
    model_uj: float
    dense_uj: float | None
    quantised_uj: float | None
    bits: int
    sparsity: float
    break_even_rate: float | None

    @property
    def dense_factor(self) -> float | None:
        """Energy of the model as a multiple of the dense twin's; below 1 the model costs less."""
        return self.model_uj / self.dense_uj if self.dense_uj else None

    @property
    def quantised_factor(self) -> float | None:
        """The same against the quantised twin."""
        return self.model_uj / self.quantised_uj if self.quantised_uj else None


def verdicts(report: "Report") -> tuple[Verdict, ...]:
    """One for each profile of a report, in their order; against the report's measured twin if it has one."""
    return tuple(_verdict(report, profile) for profile in report.profiles)


def has_twins(report: "Report") -> bool:
    """Whether there is anything to judge: a network without spikes is its own twin."""
    return any(row.kind == "neuron" or row.sops for row in report.layers)


def flips(found: Sequence[Verdict]) -> list[str]:
    """Where the answer depends on the cost table: one sentence for each twin under which it does."""
    sentences = []
    for twin, field in (("dense ReLU twin", "dense_factor"), ("quantised twin", "quantised_factor")):
        factors = {v.profile.name: getattr(v, field) for v in found if getattr(v, field) is not None}
        less = [name for name, factor in factors.items() if factor < 1]
        more = [name for name in factors if name not in less]
        if less and more:
            sentences.append(
                f"The verdict against the {twin} flips: the spiking model costs less under {', '.join(less)}, "
                f"and more under {', '.join(more)}."
            )
    return sentences


def activation_bits(steps: int) -> int:
    """⌈log2(T + 1)⌉: what tells 0 to T spikes apart."""
    return steps.bit_length()


def _verdict(report: "Report", profile: Profile) -> Verdict:
    gamma = _sparsity(report)
    model = report.energy(profile.name).total_uj
    bits = activation_bits(report.steps)
    full = None if profile.mac is None else _uj(report, profile, profile.mac, gamma, profile.bits)
    quantised = None
    if profile.numbers == "integer" and profile.multiply is not None and profile.bits is not None and profile.ac is not None:
        narrow = min(bits, profile.bits)
        quantised = _uj(report, profile, profile.multiply * narrow / profile.bits + profile.ac, gamma, narrow)
    rate = profile.mac * (1 - gamma) / (report.steps * profile.ac) if profile.mac and profile.ac and report.steps else None
    return Verdict(profile, model, full, quantised, bits, gamma, rate)


def _uj(report: "Report", profile: Profile, mac: float, gamma: float, activation: int | None) -> float | None:
    """Of one evaluation; None if the profile costs memory and a layer's shape is not known.

    A multiplication shrinks with the width of one factor: those of 8 and 32 bits cost 0.2 and 3.1 pJ, as the product of both
    widths does.
    """
    picojoules = 0.0
    for row in (report.twin or report).layers:
        if not row.dense_macs or not row.steps:
            continue
        once = row.dense_macs / row.steps
        picojoules += mac * once * (1 - gamma)
        if profile.memory is not None and profile.bits is not None:
            if row.geometry is None:
                return None
            picojoules += dense(row.geometry, once, 1).energy_pj(profile.memory, profile.bits, activation)
    return picojoules * 1e-6


def _sparsity(report: "Report") -> float:
    """Of the measured twin: the share of multiply-accumulates with an input or a weight of zero."""
    if report.twin is None:
        return 0.0
    total = report.twin.total
    return 1 - total.effective_macs / total.macs if total.macs else 0.0
