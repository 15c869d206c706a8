"""From a model and data to a report."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_energy.comparison import compare
from neurodeploy_energy.cost import Profile, load
from neurodeploy_energy.counting import Counter
from neurodeploy_energy.neurons import reset_states
from neurodeploy_energy.result import Report
from neurodeploy_energy.rows import rows_of

PROFILES = ("cmos45-fp32", "cmos45-int8", "loihi1")


def profile(
    model: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    *,
    steps: int | None = None,
    name: str = "model",
    baseline: Report | None = None,
    profiles: Sequence[str] = PROFILES,
    batch_axis: int = 0,
) -> Report:
    """Run a model over data and count its spikes and operations, layer by layer.

    Conventions: every input value of a synapse layer is looked at. A whole number is a spike, which costs its true fan-out in
    synaptic operations (a value of k costs k times as much); an analog value costs as many multiply-accumulates. A layer whose
    non-zero inputs are all analog costs dense multiply-accumulates; so does one that reads what comes into the network before
    any neuron has fired, or an ordinary activation such as ReLU, if any value of it is analog. Average pooling of spikes is
    folded into the next synapse layer if its windows do not overlap. Batch norm is folded: no operations. Biases, activations,
    max pooling and the mean over time are not counted.

    Memory beside the model's own does not grow with the data, but for 32 bytes a layer and sample (see `Series`): fan-out maps
    take 8 bytes a spatial position of a layer's input, and as much for each value of one step in channels with weights of zero;
    a mask takes a quarter of each weight while zeros are looked for; while a batch runs, masks take a quarter of the activation
    that is counted, or some three times it where it is analog, and the activations around average pools are kept to its end.

    Args:
        model: any torch module; called in evaluation mode, without gradients, and left as it was. Neurons that keep a state
            between calls (SpikingJelly, sinabs, snnTorch) are reset before each batch.
        batches: inputs, or tuples whose first element is the input.
        steps: T. A model whose neurons take one step at a time and that has no loop over time of its own is called that often
            on each batch; any other must come to as many steps. None: once, and T is what its neurons saw.
        name: of the model in the report.
        baseline: a report to compare with.
        profiles: names of embedded profiles, or paths of TOML files; the first is the headline.
        batch_axis: axis of the input that holds the samples: 0 for `[B, …]`, 1 for `[T, B, …]`.

    Raises:
        UserError: there are no samples, the model does not run on them, no layer can be counted, the neurons see another
            number of steps, or a profile is not known.
    """
    if steps is not None and steps < 1:
        raise UserError(f"{name}: steps: {steps} found, a number of at least 1 expected")
    costs = tuple(load(one) for one in profiles)
    counter, samples = Counter(model), 0
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with _eager(model), counter.attached(), torch.no_grad():
            for batch in batches:
                x = batch if isinstance(batch, Tensor) else batch[0]
                counter.begin_batch(x.shape[batch_axis])
                reset_states(model)
                _run(model, x, steps, counter, name)
                counter.end_of_batch()
                samples += x.shape[batch_axis]
    finally:
        for module, training in was_training.items():
            module.training = training
    if samples == 0:
        raise UserError(f"{name}: no samples given, at least one batch expected")
    return _report(name, samples, counter, costs, baseline)


def _eager(model: nn.Module) -> AbstractContextManager[object]:
    """A compiled model runs as it is written: what hooks see would else be compiled too."""
    compiled = any(type(one).__name__ == "OptimizedModule" or one._compiled_call_impl is not None for one in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _run(model: nn.Module, x: Tensor, steps: int | None, counter: Counter, name: str) -> None:
    _forward(model, x, counter, name)
    if steps is None:
        return
    if counter.steps == 1:
        for _ in range(steps - 1):
            _forward(model, x, counter, name)
    if counter.steps not in (0, steps):
        raise UserError(f"{name}: its neurons run for {counter.steps} time steps, steps={steps} given")


def _forward(model: nn.Module, x: Tensor, counter: Counter, name: str) -> None:
    try:
        model(x)
    except (UserError, Failure):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f" (in layer {counter.raised_in})" if counter.raised_in else ""
        raise UserError(f"{name}: does not run on an input of shape {tuple(x.shape)}: {reason}{where}") from error


def _report(name: str, samples: int, counter: Counter, costs: tuple[Profile, ...], baseline: Report | None) -> Report:
    counter.finish()
    tallies = counter.tallies
    if not any(tally.kind not in ("average pool", "max pool", "sum") for tally in tallies.values()):
        raise UserError(f"{name}: no layer that can be counted was called; convolutions, linear layers or neurons expected")
    steps = max((tally.rows // samples for tally in tallies.values() if tally.kind == "neuron"), default=1)
    series = {layer: one for layer, tally in tallies.items() if (one := tally.series()) is not None}
    report = Report(name, samples, steps, rows_of(tallies, samples, steps), dict(counter.uncounted), costs, series=series)
    return report if baseline is None else replace(report, comparison=compare(report, baseline))
