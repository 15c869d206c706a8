"""From counts to estimated energy: operations times the constants of one profile, layer by layer, by cause.

Of a spiking network, and of the networks without spikes that it has to beat: its dense ReLU twin, and that twin with few-bit
activations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neurodeploy_energy.count.layer import GRADED, InputKinds, LayerRow, exact_sum
from neurodeploy_energy.price.memory import ValueWidths, traffic_of
from neurodeploy_energy.price.placement import Placement
from neurodeploy_energy.price.profiles import Profile

CAUSES = {
    "synaptic operations": "synaptic_operations",
    "dense operations": "macs",
    "neuron updates": "neuron_updates",
    "spikes": "spikes",
    "memory": "memory",
    "addresses": "addresses",
    "host": "host",
}
"""Cause in words → field of `LayerEnergy`."""


@dataclass(frozen=True)
class LayerEnergy:
    """Estimated energy of one layer per sample, in pJ, by cause; memory and addresses only with a memory model.

    `host` is what a host computes of it, memory accesses included, where the profile is a chip's.
    """

    name: str
    synaptic_operations: float
    macs: float
    neuron_updates: float
    spikes: float
    memory: float = 0.0
    addresses: float = 0.0
    host: float = 0.0

    @property
    def total(self) -> float:
        return exact_sum(getattr(self, field) for field in CAUSES.values())


@dataclass(frozen=True)
class EnergyBreakdown:
    """Estimated energy of a model per sample under one profile, or under a chip's and its host's.

    Attributes:
        profile: whose constants were used.
        layers: in pJ.
        left_out: what the profile gives no cost for, in words with the amount; empty if all is in the total.
        static_uj: what flows while the steps of a sample last, whether anything is computed or not, µJ; None if the profile
            does not say. It is a line of its own, not part of the total.
        host: profile of the host that computes what is not on the chip; None where all is priced by `profile`.
        lacking: those of `left_out` that are operations of synapses: without their price there is no total.
        readout_pj: of a chip's read-out neurons; see `ReadoutNeurons`.
    """

    profile: Profile
    layers: tuple[LayerEnergy, ...]
    left_out: tuple[str, ...]
    static_uj: float | None = None
    host: Profile | None = None
    lacking: tuple[str, ...] = ()
    readout_pj: float = 0.0

    @property
    def total_uj(self) -> float | None:
        """µJ per sample, static energy aside; None if operations of synapses have no price."""
        if self.lacking:
            return None
        return exact_sum([*(layer.total for layer in self.layers), self.readout_pj]) * 1e-6

    @property
    def chip_uj(self) -> float:
        """What is priced by `profile`, µJ per sample."""
        return exact_sum([*(layer.total - layer.host for layer in self.layers), self.readout_pj]) * 1e-6

    @property
    def host_uj(self) -> float:
        """What is priced by `host`, µJ per sample."""
        return exact_sum(layer.host for layer in self.layers) * 1e-6

    @property
    def says_nothing(self) -> bool:
        """Whether the profile prices nothing that was counted."""
        return bool(self.lacking) and not any(layer.total for layer in self.layers)


def estimate(rows: Sequence[LayerRow], profile: Profile, steps: int, placement: Placement | None = None) -> EnergyBreakdown:
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
        placement: the profile is a chip's, and a host does the rest; None: the profile prices all.
    """
    if are_graded(rows) and profile.mac is None:
        lacking, _ = _left_out(rows, profile)
        return EnergyBreakdown(profile, tuple(_without_cost(row) for row in rows), lacking, None, lacking=lacking)
    leak_free = {row.drives for row in rows if row.geometry is not None and row.geometry.leaky is False}
    static = None
    if profile.static_mw is not None and profile.step_us is not None:
        static = profile.static_mw * profile.step_us * steps * 1e-3
    if placement is None:
        layers = tuple(_layer(row, profile, leaky=row.name not in leak_free) for row in rows)
        lacking, others = _left_out(rows, profile)
        return EnergyBreakdown(profile, layers, (*lacking, *others), static, lacking=lacking)
    chip = {row.name: row for row in placement.on_chip(rows)}
    both = []
    for row in rows:
        leaky = row.name not in leak_free
        mine = _layer(chip[row.name], profile, leaky=leaky) if row.name in chip else LayerEnergy(row.name, 0.0, 0.0, 0.0, 0.0)
        both.append(replace(mine, host=placement.host_pj(row, leaky=leaky)))
    lacking, others = _left_out([*chip.values()], profile)
    lacking += placement.lacking(rows)
    left = (*lacking, *others)
    return EnergyBreakdown(profile, tuple(both), left, static, placement.host, lacking, placement.readout_pj(profile))


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
        for traffic in traffic_of(row, profile.memory, _stored(row, profile), leaky=leaky):
            memory += traffic.pj
            addresses += mac * traffic.address_macs + ac * traffic.address_acs
            updates += mac * traffic.macs + ac * traffic.acs
    return LayerEnergy(
        row.name,
        (sop_cost(row, profile) or 0.0) * row.sops + ac * row.adds,
        0.0 if profile.mac is None else _mac_pj(row, profile) * row.macs + ac * row.analog_adds,
        updates,
        (profile.spike or 0.0) * row.spikes,
        memory,
        addresses,
    )


def _mac_pj(row: LayerRow, profile: Profile) -> float:
    """A multiply-accumulate of a layer: of its integers, if it is one of a quantised network."""
    return profile.mac_pj(row.weight_bits, row.activation_bits) or 0.0


def _stored(row: LayerRow, profile: Profile) -> ValueWidths:
    widths = profile.widths(row.weight_bits, row.activation_bits)
    assert widths is not None
    return widths


def _left_out(rows: Sequence[LayerRow], profile: Profile) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What has no cost, with its amount: the work of synapses and their memory, and other work.

    An all-in cost per synaptic event has the chip's own updates and spikes in it.
    """
    if are_graded(rows) and profile.mac is None:
        return _without_graded(rows), ()
    synapses = [
        (profile.ac, ("sops", "adds"), "synaptic operations"),
        (profile.mac, ("macs",), "multiply-accumulates on analog values, which run on a host"),
        (profile.mac, ("analog_adds",), "additions of analog values, which run on a host"),
    ]
    lines = []
    if not profile.all_in and profile.memory is None:
        lines += [
            (profile.neuron_update_active, ("updates_active",), "active neuron updates"),
            (profile.neuron_update_idle, ("updates_idle",), "idle neuron updates"),
        ]
    if not profile.all_in:
        lines += [(profile.spike, ("spikes",), "spikes sent")]
    shapeless = [row.name for row in rows if row.dense_macs and row.geometry is None]
    unknown = [f"memory accesses of {', '.join(shapeless)}, whose shape is not known"] if profile.memory and shapeless else []
    return (*_without_price(rows, synapses), *unknown), _without_price(rows, lines)


def _without_price(rows: Sequence[LayerRow], lines: Sequence[tuple[float | None, tuple[str, ...], str]]) -> tuple[str, ...]:
    amounts = ((cost, exact_sum(getattr(row, field) for row in rows for field in fields), what) for cost, fields, what in lines)
    return tuple(f"{amount:,.0f} {what}" for cost, amount, what in amounts if cost is None and amount)


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
        model_uj: the spiking model; None if the profile cannot price it.
        dense_uj: its dense ReLU twin: one evaluation of every synapse layer, on the host where the profile is a chip's; None if
            there is no MAC cost.
        quantised_uj: the twin with activations of `bits`: as many levels as a neuron has spike counts in T steps. None if the
            profile is not one of integers.
        bits: ⌈log2(T + 1)⌉ (Yan et al., arXiv 2409.08290).
        sparsity: γ, the share of the twins' multiply-accumulates that meet a zero; 0 where the twin was not measured.
        break_even_rate: firing rate at which the model costs as much as its dense twin in arithmetic, if every layer fired
            alike: `T · rate · E_AC = E_MAC · (1 − γ)`; None if the profile lacks a cost.
        spikes_allowed: the share of its spikes with which the model as a whole would cost as much as its dense twin, all that
            the profile prices included, if every neuron's spikes went down alike: 0.3 says that 70 % must go, 2 that twice as
            many would do; below 0 there is no such share. None if one of the two has no price, or no spike costs anything.
        break_even_rate_in_all: the firing rate of all neurons together that comes of that share. Yan et al. (arXiv 2409.08290)
            give such rates; theirs are of other constants.
        quantised_rate_in_all: the same against the quantised twin.
    """

    profile: Profile
    model_uj: float | None
    dense_uj: float | None
    quantised_uj: float | None
    bits: int
    sparsity: float
    break_even_rate: float | None
    spikes_allowed: float | None = None
    break_even_rate_in_all: float | None = None
    quantised_rate_in_all: float | None = None

    @property
    def dense_factor(self) -> float | None:
        """Energy of the model as a multiple of the dense twin's; below 1 the model costs less."""
        return self.model_uj / self.dense_uj if self.dense_uj and self.model_uj is not None else None

    @property
    def quantised_factor(self) -> float | None:
        """The same against the quantised twin."""
        return self.model_uj / self.quantised_uj if self.quantised_uj and self.model_uj is not None else None


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


def judge(
    layers: Sequence[LayerRow],
    profile: Profile,
    steps: int,
    twin: Sequence[LayerRow] | None = None,
    placement: Placement | None = None,
) -> Verdict:
    """A spiking model against its twins, under one profile. A network that sends graded messages has none.

    Args:
        layers: of the model.
        profile: whose constants.
        steps: T.
        twin: layers of the measured ReLU twin; None: the model's own, evaluated densely, stand for it.
        placement: where the profile is a chip's: the twins then run on the host, the model on both.
    """
    bits = activation_bits(steps)
    if are_graded(layers):  # the ReLU network that it stands for answers every step, not once
        return Verdict(profile, estimate(layers, profile, steps).total_uj, None, None, bits, 0.0, None)
    gamma = 0.0 if twin is None else _sparsity(twin)
    dense_layers = layers if twin is None else twin
    processor = profile if placement is None else placement.host
    mac = processor.mac
    full = None if mac is None else _dense_uj(dense_layers, processor, mac, gamma, processor.bits)
    quantised = None
    multiply, add, width = processor.multiply, processor.ac, processor.bits
    if processor.numbers == "integer" and multiply is not None and width is not None and add is not None:
        narrow = min(bits, width)
        quantised = _dense_uj(dense_layers, processor, multiply * narrow / width + add, gamma, narrow)
    rate = mac * (1 - gamma) / (steps * profile.ac) if mac and profile.ac and steps else None
    total = estimate(layers, profile, steps, placement).total_uj
    silent = estimate([_silent(row) for row in layers], profile, steps, placement).total_uj
    allowed, narrow_allowed = (_spikes_allowed(total, silent, twin_uj) for twin_uj in (full, quantised))
    own = _firing_rate(layers)
    rates = (None if share is None or own is None else share * own for share in (allowed, narrow_allowed))
    return Verdict(profile, total, full, quantised, bits, gamma, rate, allowed, *rates)


def _spikes_allowed(total: float | None, silent: float | None, twin: float | None) -> float | None:
    """The share of its spikes with which a model costs as much as a twin: the total is a line through both ends."""
    if total is None or silent is None or twin is None or total <= silent:
        return None
    return (twin - silent) / (total - silent)


def _firing_rate(layers: Sequence[LayerRow]) -> float | None:
    """Of all neurons together; None where none has fired."""
    neurons = [row for row in layers if row.kind == "neuron"]
    spikes = exact_sum(row.spikes for row in neurons)
    slots = exact_sum(row.neurons * row.steps for row in neurons)
    return spikes / slots if spikes and slots else None


def _silent(row: LayerRow) -> LayerRow:
    """A layer as it would be if no neuron fired: neurons are updated idly, and what is analog stays."""
    if row.kind == "neuron":
        return replace(row, spikes=0.0, updates_active=0.0, updates_idle=row.updates_active + row.updates_idle)
    return replace(row, sops=0.0, adds=0.0, inputs=InputKinds(row.inputs.zeros, 0.0, 0.0, row.inputs.analog))


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
            widths = ValueWidths(profile.bits, activation or profile.bits)
            picojoules += profile.memory.of_dense(row.geometry, once, 1, widths).pj
    return picojoules * 1e-6


def _sparsity(twin: Sequence[LayerRow]) -> float:
    """The share of multiply-accumulates with an input or a weight of zero."""
    macs = exact_sum(row.macs for row in twin)
    return 1 - exact_sum(row.effective_macs for row in twin) / macs if macs else 0.0
