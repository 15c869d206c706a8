"""The row of means per sample that comes of a layer's running counts."""

from dataclasses import replace

from neurodeploy_energy.count.layer import GRADED, InputKinds, LayerRow, MemoryAccesses
from neurodeploy_energy.count.provenance import INPUT
from neurodeploy_energy.count.tally import Tally

_READS = ("synapse", "matmul", "recurrent")


def layer_rows(tallies: dict[str, Tally], samples: int, steps: int) -> tuple[LayerRow, ...]:
    """One row for each layer; `steps`: T of the model."""
    return tuple(_row(name, tally, tallies, samples, steps) for name, tally in tallies.items())


def _row(name: str, tally: Tally, tallies: dict[str, Tally], samples: int, steps: int) -> LayerRow:
    own_steps = tally.rows / samples
    spiking, reads = tally.kind == "neuron", tally.kind in _READS
    dense, sops = reads and tally.all_analog, tally.sops
    macs = tally.analog_macs + tally.hidden_macs
    effective = tally.analog_effective_macs + tally.hidden_effective_macs
    slots = tally.elements if reads else tally.neurons * tally.rows
    rate = tally.spikes / slots if slots else 0.0
    adds = tally.adds + _operand_adds(tally)
    drives = tally.drives if reads else ""
    geometry = None if tally.geometry is None else replace(tally.geometry, leaky=tally.leaky if drives else None)
    whole = tally.whole_spikes + tally.graded
    zeros = max(0, tally.elements - tally.nonzero)
    return LayerRow(
        name=name,
        kind=GRADED if tally.messages else tally.kind,
        neurons=tally.neurons,
        steps=own_steps,
        spikes=tally.spikes / samples if spiking else 0.0,
        rate=rate,
        sops=sops / samples,
        sops_nonzero_weights=tally.sops_nonzero_weights / samples,
        sops_by_rate=rate * tally.dense_macs / samples if reads and whole and not dense else 0.0,
        dense_macs=(tally.dense_macs + tally.hidden_macs) / samples,
        macs=macs / samples,
        effective_macs=effective / samples,
        adds=adds / samples,
        analog_adds=tally.analog_adds / samples,
        updates_active=tally.updates_active / samples,
        updates_idle=(tally.updates - tally.updates_active) / samples,
        note="; ".join(_notes(tally, own_steps, steps)),
        spikes_in=tally.nonzero / samples if reads else 0.0,
        spikes_out=tallies[drives].spikes / samples if drives and tally.drives_last else 0.0,
        spikes_value=tally.spikes_value / samples,
        drives=drives,
        reads=(INPUT,) * (INPUT in tally.reads) + tuple(other for other in tallies if other in tally.reads),
        inputs=InputKinds(zeros / samples, tally.whole_spikes / samples, tally.graded / samples, tally.analog / samples),
        memory=_accesses(tally, sops / samples, macs / samples, (adds + tally.analog_adds) / samples, samples),
        geometry=geometry,
        pairs=(tally.effective_macs + tally.hidden_effective_macs) / samples if reads else 0.0,
        pooled=tally.pooled,
    )


def _operand_adds(tally: Tally) -> int:
    return sum(count for at, count in tally.operand_adds.items() if at not in tally.analog_operands)


def _accesses(tally: Tally, sops: float, macs: float, adds: float, samples: int) -> MemoryAccesses:
    """See `MemoryAccesses`; means per sample."""
    if tally.kind == "neuron":
        updates = tally.states * tally.updates / samples
        return MemoryAccesses(potential_reads=updates, potential_writes=updates, output_writes=tally.spikes / samples)
    if tally.kind in _READS:
        events = 0.0 if tally.all_analog else (tally.whole_spikes + tally.graded) / samples
        outputs = tally.outputs / samples if macs else 0.0
        return MemoryAccesses(events + macs, sops + macs, sops, sops, outputs)
    return MemoryAccesses(input_reads=adds, potential_reads=adds, potential_writes=adds)


def _notes(tally: Tally, own_steps: float, steps: int) -> list[str]:
    notes = set(tally.notes)
    if tally.analog_adds:
        notes.add("analog input: one accumulation per value")
    first: list[str] = []
    if tally.kind in _READS:
        if tally.all_analog:
            first.append("analog input: multiply-accumulates")
        elif tally.analog:
            share = tally.analog / tally.nonzero
            first.append(f"mixed input: {share:.1%} of the non-zero values are analog, and cost multiply-accumulates")
        if tally.messages:
            notes.add("graded messages: each is one operation at every synapse that it reaches, and multiplies its weight")
        elif tally.graded and not tally.all_analog:
            notes.add("graded spikes: a value of k costs k synaptic operations")
    if tally.analog_operands:
        notes.add("currents meet in the neuron: no operation of their own")
    if tally.operand_adds.keys() - tally.analog_operands:
        notes.add("each spike of the shortcut is one accumulation")
    last: list[str] = []
    if tally.kind == "synapse":
        if own_steps == 1 < steps:
            last.append(f"computed once per sample; every step would cost {steps} times as much")
        elif own_steps > steps:
            often = f"runs {own_steps:g} times per sample"
            last.append(f"{often}, in several calls" if tally.calls_most > 1 else f"{often}, once for each position")
    return [*first, *sorted(notes), *last]
