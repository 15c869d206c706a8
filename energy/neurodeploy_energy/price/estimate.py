"""From counts to estimated energy: operations times the constants of one profile, layer by layer, by cause.

Of a spiking network, and of the networks without spikes that it has to beat: its dense ReLU twin, and that twin with few-bit
activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from neurodeploy_energy.count.layer import GRADED, LayerRow, exact_sum
from neurodeploy_energy.price.memory import accesses_of, dense_accesses
from neurodeploy_energy.price.profiles import Profile

CAUSES = {
    "synaptic operations": "synaptic_operations",
    "dense operations": "macs",
    "neuron updates": "neuron_updates",
    "spikes": "spikes",
    "memory": "memory",
    "addresses": "addresses",
}
"""Cause in words → field of `LayerEnergy`."""


@dataclass(frozen=True)
class LayerEnergy:
    """Estimated energy of one layer per sample, in pJ, by cause; memory and addresses only with a memory model."""

    name: str
    synaptic_operations: float
    macs: float
    neuron_updates: float
    spikes: float
    memory: float = 0.0
    addresses: float = 0.0

    @property
    def total(self) -> float:
        return exact_sum(getattr(self, field) for field in CAUSES.values())


@dataclass(frozen=True)
class EnergyBreakdown:
    """Estimated energy of a model per sample under one profile.

    Attributes:
        profile: whose constants were used; a total never mixes two.
        layers: in pJ.
        left_out: what the profile gives no cost for, in words with the amount; empty if all is in the total.
        static_uj: what flows while the steps of a sample last, whether anything is computed or not, µJ; None if the profile
            does not say. It is a line of its own, not part of the total.
    """

    profile: Profile
    layers: tuple[LayerEnergy, ...]
    left_out: tuple[str, ...]
    static_uj: float | None = None

    @property
    def total_uj(self) -> float:
        """µJ per sample, static energy aside."""
        return exact_sum(layer.total for layer in self.layers) * 1e-6

    @property
    def says_nothing(self) -> bool:
        """Whether the profile gives no cost for anything that was counted: then the total of 0 is no estimate."""
        return bool(self.left_out) and not any(layer.total for layer in self.layers)


def estimate(rows: Sequence[LayerRow], profile: Profile, steps: int) -> EnergyBreakdown:
    """Counts times constants.

    ```
    E = AC · (SOPs + adds) + MAC · MACs + AC · analog adds
      + active · active updates + idle · idle updates + spike · spikes
    ```

    A synaptic operation of a graded message multiplies, and costs a MAC. A profile without a MAC cost is that of a chip without
    graded messages: nothing of a network that sends them has a cost there, its neurons' updates neither.

    With a memory model: + its accesses, + MAC and AC · the operations on addresses and in the neurons' updates.

    Args:
        rows: of the layers that are costed.
        profile: whose constants.
        steps: T, for the static energy.
    """
    if are_graded(rows) and profile.mac is None:
        return EnergyBreakdown(profile, tuple(_without_cost(row) for row in rows), _left_out(rows, profile), None)
    leak_free = {row.drives for row in rows if row.geometry is not None and row.geometry.leaky is False}
    layers = tuple(_layer(row, profile, leaky=row.name not in leak_free) for row in rows)
    static = None
    if profile.static_mw is not None and profile.step_us is not None:
        static = profile.static_mw * profile.step_us * steps * 1e-3
    return EnergyBreakdown(profile, layers, _left_out(rows, profile), static)


def are_graded(rows: Sequence[LayerRow]) -> bool:
    """Whether the layers are of a network that sends graded messages."""
    return any(row.kind == GRADED for row in rows)


def _without_cost(row: LayerRow) -> LayerEnergy:
    return LayerEnergy(row.name, 0.0, 0.0, 0.0, 0.0)


def sop_cost(row: LayerRow, profile: Profile) -> float | None:
    """Of one synaptic operation of a layer, pJ; None if the profile gives none."""
    return profile.mac if row.kind == GRADED else profile.ac


def _layer(row: LayerRow, profile: Profile, *, leaky: bool) -> LayerEnergy:
    ac, mac = profile.ac or 0.0, profile.mac or 0.0
    updates = (profile.neuron_update_active or 0.0) * row.updates_active + (
        profile.neuron_update_idle or 0.0
    ) * row.updates_idle
    memory = addresses = 0.0
    if profile.memory is not None and profile.bits is not None:
        for accesses in accesses_of(row, leaky=leaky):
            memory += accesses.energy_pj(profile.memory, profile.bits)
            addresses += mac * accesses.address_macs + ac * accesses.address_acs
            updates += mac * accesses.macs + ac * accesses.acs
    return LayerEnergy(
        row.name,
        (sop_cost(row, profile) or 0.0) * row.sops + ac * row.adds,
        0.0 if profile.mac is None else mac * row.macs + ac * row.analog_adds,
        updates,
        (profile.spike or 0.0) * row.spikes,
        memory,
        addresses,
    )


def _left_out(rows: Sequence[LayerRow], profile: Profile) -> tuple[str, ...]:
    """What has no cost, with its amount. An all-in cost per synaptic event has the chip's own updates and spikes in it."""
    if are_graded(rows) and profile.mac is None:
        return _without_graded(rows)
    lines = [
        (profile.ac, ("sops", "adds"), "synaptic operations"),
        (profile.mac, ("macs",), "multiply-accumulates on analog values, which run on a host"),
        (profile.mac, ("analog_adds",), "additions of analog values, which run on a host"),
    ]
    if not profile.all_in and profile.memory is None:
        lines += [
            (profile.neuron_update_active, ("updates_active",), "active neuron updates"),
            (profile.neuron_update_idle, ("updates_idle",), "idle neuron updates"),
        ]
    if not profile.all_in:
        lines += [(profile.spike, ("spikes",), "spikes sent")]
    shapeless = [row.name for row in rows if row.dense_macs and row.geometry is None]
    unknown = [f"memory accesses of {', '.join(shapeless)}, whose shape is not known"] if profile.memory and shapeless else []
    amounts = ((cost, exact_sum(getattr(row, field) for row in rows for field in fields), what) for cost, fields, what in lines)
    known = (f"{amount:,.0f} {what}" for cost, amount, what in amounts if cost is None and amount)
    return (*known, *unknown)


def _without_graded(rows: Sequence[LayerRow]) -> tuple[str, ...]:
    """What a network that sends graded messages does, for a profile that knows none of it."""
    named = {
        "synaptic operations of graded messages": exact_sum(row.sops for row in rows),
        "neuron updates": exact_sum(row.updates_active + row.updates_idle for row in rows),
        "messages sent": exact_sum(row.spikes for row in rows),
    }
    return tuple(f"{amount:,.0f} {what}" for what, amount in named.items() if amount)


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


def flips(judged: Sequence[Verdict]) -> list[str]:
    """Where the answer depends on the price list: one sentence for each twin under which it does."""
    sentences = []
    for twin, field in (("dense ReLU twin", "dense_factor"), ("quantised twin", "quantised_factor")):
        factors = {v.profile.name: getattr(v, field) for v in judged if getattr(v, field) is not None}
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


def judge(layers: Sequence[LayerRow], profile: Profile, steps: int, twin: Sequence[LayerRow] | None = None) -> Verdict:
    """A spiking model against its twins, under one profile. A network that sends graded messages has none.

    Args:
        layers: of the model.
        profile: whose constants.
        steps: T.
        twin: layers of the measured ReLU twin; None: the model's own, evaluated densely, stand for it.
    """
    bits = activation_bits(steps)
    if are_graded(layers):  # the ReLU network that it stands for answers every step, not once
        return Verdict(profile, estimate(layers, profile, steps).total_uj, None, None, bits, 0.0, None)
    gamma = 0.0 if twin is None else _sparsity(twin)
    dense_layers = layers if twin is None else twin
    full = None if profile.mac is None else _dense_uj(dense_layers, profile, profile.mac, gamma, profile.bits)
    quantised = None
    if profile.numbers == "integer" and profile.multiply is not None and profile.bits is not None and profile.ac is not None:
        narrow = min(bits, profile.bits)
        quantised = _dense_uj(dense_layers, profile, profile.multiply * narrow / profile.bits + profile.ac, gamma, narrow)
    rate = profile.mac * (1 - gamma) / (steps * profile.ac) if profile.mac and profile.ac and steps else None
    return Verdict(profile, estimate(layers, profile, steps).total_uj, full, quantised, bits, gamma, rate)


def _dense_uj(layers: Sequence[LayerRow], profile: Profile, mac: float, gamma: float, activation: int | None) -> float | None:
    """Of one evaluation; None if the profile costs memory and a layer's shape is not known.

    A multiplication shrinks with the width of one factor: those of 8 and 32 bits cost 0.2 and 3.1 pJ, as the product of both
    widths does.
    """
    picojoules = 0.0
    for row in layers:
        if not row.dense_macs or not row.steps:
            continue
        once = row.dense_macs / row.steps
        picojoules += mac * once * (1 - gamma)
        if profile.memory is not None and profile.bits is not None:
            if row.geometry is None:
                return None
            picojoules += dense_accesses(row.geometry, once, 1).energy_pj(profile.memory, profile.bits, activation)
    return picojoules * 1e-6


def _sparsity(twin: Sequence[LayerRow]) -> float:
    """The share of multiply-accumulates with an input or a weight of zero."""
    macs = exact_sum(row.macs for row in twin)
    return 1 - exact_sum(row.effective_macs for row in twin) / macs if macs else 0.0
