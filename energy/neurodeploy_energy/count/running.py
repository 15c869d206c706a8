"""Running a model over data while its spikes and operations are counted."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.batches import Batches, Several, a_few, check_batch, input_of
from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.layer import LayerRow, Series
from neurodeploy_energy.count.one_pass import RunSetting, eager, evaluating, run_batch, seeded
from neurodeploy_energy.count.rows import layer_rows
from neurodeploy_energy.count.sample_axis import first_batch
from neurodeploy_energy.count.samples import check_model
from neurodeploy_energy.count.state import States, reset_of, rest


@dataclass(frozen=True)
class Counted:
    """What one run counted.

    Attributes:
        samples: number of samples that were run.
        steps: T, the largest number of steps of a layer of neurons; 1 if there is none.
        layers: in the order of the model.
        series: layer name → its counts by step and by sample, for layers where steps and samples can be told apart.
        uncounted: layer name → why its operations are missing from the counts.
    """

    samples: int
    steps: int
    layers: tuple[LayerRow, ...]
    series: dict[str, Series]
    uncounted: dict[str, str]


def count(model: nn.Module, batches: Batches, setting: RunSetting, *, name: str) -> Counted:
    """Count everything that a model computes on data; see `account` for the arguments, and for what is counted as what.

    Raises:
        UserError: there are no samples, the model does not run on them, no layer can be counted, or the neurons see another
            number of steps.
    """
    check_model(model, setting.steps, setting.neurons, name)
    counter: Counter | None = None
    samples = 0
    with evaluating(model), eager(model), seeded(), torch.no_grad():
        rest(model)
        states = States(model)
        try:
            for batch in [batches] if isinstance(batches, Tensor | Several) else batches:
                x = input_of(batch, name)
                if counter is None:
                    counter, setting = first_batch(model, x, setting, name, states)
                    _check_rest(model, x, setting, states, name)
                else:
                    check_batch(x, setting.batch_axis or 0, samples, name)
                    states.restore()
                    run_batch(model, x, setting, counter, name, samples)
                samples += x.shape[setting.batch_axis or 0]
        finally:
            states.restore()
    if counter is None or samples == 0:
        raise UserError(f"{name}: no samples given, at least one batch expected")
    steps = counter.finish(setting.events)
    tallies = counter.tallies
    if not any(tally.kind not in ("average pool", "max pool", "sum") for tally in tallies.values()):
        raise UserError(f"{name}: no layer that can be counted was called; convolutions, linear layers or neurons expected")
    series = {layer: one for layer, tally in tallies.items() if (one := tally.series()) is not None}
    return Counted(samples, steps, layer_rows(tallies, samples, steps), series, dict(counter.uncounted))


def _check_rest(model: nn.Module, x: Tensor | Several, setting: RunSetting, states: States, name: str) -> None:
    """Refuse a model that begins with a state of an earlier run, which changes what it counts."""
    changed = [(module, key) for module, key in states.changed() if reset_of(module) is None]
    if not changed:
        return
    few, totals = a_few(x, setting.batch_axis or 0), []
    states.restore()
    for _ in range(2):
        counter = Counter(model, neurons=setting.neurons)
        torch.manual_seed(0)
        run_batch(model, few, setting, counter, name)
        counter.finish(setting.events)
        totals.append([(layer, tally.spikes, tally.sops, tally.analog_macs) for layer, tally in counter.tallies.items()])
    if totals[0] != totals[1]:
        names = {id(module): layer for layer, module in model.named_modules()}
        module, key = changed[0]
        raise UserError(
            f"{name}: layer {names[id(module)] or type(module).__name__}: keeps {key} between calls, and holds that of an "
            f"earlier run, so that its counts would be of no defined state; make the model anew, or give the class a reset()"
        )
