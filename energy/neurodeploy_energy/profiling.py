"""From a model and data to a report."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurodeploy.errors import Failure, UserError
from neurodeploy_energy.comparison import compare
from neurodeploy_energy.cost import Profile, load
from neurodeploy_energy.counting import Counter
from neurodeploy_energy.result import LayerRow, Report
from neurodeploy_energy.tally import Tally

PROFILES = ("cmos45-fp32", "cmos45-int8", "loihi1")


def profile(
    model: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    *,
    name: str = "model",
    baseline: Report | None = None,
    profiles: Sequence[str] = PROFILES,
    batch_axis: int = 0,
) -> Report:
    """Run a model over data and count its spikes and operations, layer by layer.

    Conventions: a synapse layer whose inputs are all whole numbers is driven by spikes, each costing its true fan-out in
    synaptic operations (a value of k costs k times as much). With any other input it is analog and costs dense
    multiply-accumulates. Average pooling of spikes is folded into the next synapse layer if its windows do not overlap.
    Batch norm is folded: no operations. Biases, ReLU, max pooling and the mean over time are not counted.

    Args:
        model: any torch module; called in evaluation mode, without gradients, and left as it was.
        batches: inputs, or tuples whose first element is the input.
        name: of the model in the report.
        baseline: a report to compare with.
        profiles: names of embedded profiles, or paths of TOML files; the first is the headline.
        batch_axis: axis of the input that holds the samples: 0 for `[B, …]`, 1 for `[T, B, …]`.

    Raises:
        UserError: there are no samples, the model does not run on them, no layer can be counted, or a profile is not known.
    """
    costs = tuple(load(one) for one in profiles)
    counter, samples = Counter(model), 0
    was_training = model.training
    model.eval()
    try:
        with counter.attached(), torch.no_grad():
            for batch in batches:
                x = batch if isinstance(batch, Tensor) else batch[0]
                _forward(model, x, name)
                counter.end_of_batch()
                samples += x.shape[batch_axis]
    finally:
        model.train(was_training)
    if samples == 0:
        raise UserError(f"{name}: no samples given, at least one batch expected")
    return _report(name, samples, counter, costs, baseline)


def _forward(model: nn.Module, x: Tensor, name: str) -> None:
    try:
        model(x)
    except (UserError, Failure):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = str(error).strip() or type(error).__name__
        raise UserError(f"{name}: does not run on an input of shape {tuple(x.shape)}: {reason.splitlines()[0]}") from error


def _report(name: str, samples: int, counter: Counter, costs: tuple[Profile, ...], baseline: Report | None) -> Report:
    called = {layer: tally for layer, tally in counter.tallies.items() if tally.calls}
    if not any(tally.kind in ("synapse", "neuron") for tally in called.values()):
        raise UserError(f"{name}: no layer that can be counted was called; convolutions, linear layers or neurons expected")
    uncounted = dict(counter.uncounted)
    uncounted |= {layer: "was never called" for layer in counter.tallies if layer not in called}
    steps = max((t.rows // samples for t in called.values() if t.kind == "neuron"), default=1)
    rows = tuple(_row(layer, tally, samples, steps) for layer, tally in called.items())
    report = Report(name, samples, steps, rows, uncounted, costs)
    return report if baseline is None else replace(report, comparison=compare(report, baseline))


def _row(name: str, tally: Tally, samples: int, steps: int) -> LayerRow:
    own_steps = tally.rows / samples
    spiking, analog = tally.kind == "neuron", tally.analog
    notes = _notes(tally)
    if tally.kind == "synapse" and own_steps == 1 < steps:
        notes.append(f"computed once per sample; every step would cost {steps} times as much")
    slots = tally.elements if tally.kind == "synapse" else tally.neurons * tally.rows
    rate = tally.spikes / slots if slots else 0.0
    adds = 0 if analog else tally.adds + sum(n for at, n in tally.operand_adds.items() if at not in tally.analog_operands)
    return LayerRow(
        name=name,
        kind=tally.kind,
        neurons=tally.neurons,
        steps=own_steps,
        spikes=tally.spikes / samples if spiking else 0.0,
        rate=rate,
        sops=0.0 if analog else tally.sops / samples,
        sops_nonzero_weights=0.0 if analog else tally.sops_nonzero_weights / samples,
        sops_by_rate=0.0 if analog else rate * tally.dense_macs / samples,
        dense_macs=tally.dense_macs / samples,
        macs=tally.dense_macs / samples if analog else 0.0,
        effective_macs=tally.effective_macs / samples if analog else 0.0,
        adds=adds / samples,
        analog_adds=tally.elements / samples if analog and tally.kind == "average pool" else 0.0,
        updates_active=tally.updates_active / samples,
        updates_idle=(tally.updates - tally.updates_active) / samples,
        note="; ".join(notes),
    )


def _notes(tally: Tally) -> list[str]:
    if tally.analog:
        per_value = tally.kind == "average pool"
        return ["analog input: one accumulation per value" if per_value else "analog input: multiply-accumulates"]
    notes = set(tally.notes)
    if tally.analog_operands:
        notes.add("currents meet in the neuron: no operation of their own")
    if tally.operand_adds.keys() - tally.analog_operands:
        notes.add("each spike of the shortcut is one accumulation")
    return sorted(notes)
