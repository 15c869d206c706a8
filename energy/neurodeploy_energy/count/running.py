"""Running a model over data while its spikes and operations are counted, and recording single neurons of one sample.

Hooks on the modules say where the pass is; a mode sees what runs outside of them; there is no second forward pass.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.functional import FunctionalOperations
from neurodeploy_energy.count.layer import LayerRow, Series
from neurodeploy_energy.count.recognition import NeuronLayer, neurons_of, reset_states
from neurodeploy_energy.count.tally import layer_rows

_EACH = 16


@dataclass(frozen=True, eq=False)
class Several:
    """Inputs of a model that takes more than one tensor.

    Attributes:
        tensors: one for each input, in the order of the model's; samples along the same axis in all.
    """

    tensors: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """Of the first."""
        return self.tensors[0].shape

    def split(self, size: int, axis: int = 0) -> "list[Several]":
        """So many samples at a time."""
        return [Several(parts) for parts in zip(*(x.split(size, axis) for x in self.tensors), strict=True)]


Batches = Tensor | Several | Iterable[Tensor | Several | tuple[Tensor, ...]]


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


def count(model: nn.Module, batches: Batches, *, steps: int | None, name: str, batch_axis: int) -> Counted:
    """Count everything that a model computes on data; see `account` for the arguments, and for what is counted as what.

    Raises:
        UserError: there are no samples, the model does not run on them, no layer can be counted, or the neurons see another
            number of steps.
    """
    if steps is not None and steps < 1:
        raise UserError(f"{name}: steps: {steps} found, a number of at least 1 expected")
    counter, samples = Counter(model), 0
    with _evaluating(model), _eager(model), _attached(counter), torch.no_grad():
        for batch in [batches] if isinstance(batches, Tensor | Several) else batches:
            x = _input_of(batch, name)
            counter.begin_batch(x.shape[batch_axis])
            reset_states(model)
            _run(model, x, steps, counter, name)
            counter.end_of_batch()
            samples += x.shape[batch_axis]
    if samples == 0:
        raise UserError(f"{name}: no samples given, at least one batch expected")
    counter.finish()
    tallies = counter.tallies
    if not any(tally.kind not in ("average pool", "max pool", "sum") for tally in tallies.values()):
        raise UserError(f"{name}: no layer that can be counted was called; convolutions, linear layers or neurons expected")
    steps_seen = max((tally.rows // samples for tally in tallies.values() if tally.kind == "neuron"), default=1)
    series = {layer: one for layer, tally in tallies.items() if (one := tally.series()) is not None}
    return Counted(samples, steps_seen, layer_rows(tallies, samples, steps_seen), series, dict(counter.uncounted))


def _input_of(batch: object, name: str) -> Tensor | Several:
    if isinstance(batch, Several):
        return batch
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor) or x.dim() == 0:
        kind = "number" if isinstance(x, Tensor) else type(x).__name__
        raise UserError(f"{name}: a batch is a {kind}, a tensor or a tuple that begins with one expected")
    return x


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model is in evaluation mode inside, and every module as it was afterwards."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training


@contextmanager
def _attached(counter: Counter) -> Iterator[None]:
    """Hooks are on the model inside, and off it afterwards, whatever happens."""
    handles, mode = [], FunctionalOperations(counter)
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # it hides the layers of a transformer in one operation
        for name, module in counter.modules:
            handles.append(module.register_forward_pre_hook(_before(counter, mode, name, module)))
            handles.append(module.register_forward_hook(_after(counter, mode, name), with_kwargs=True, always_call=True))
        with mode:
            try:
                yield
            finally:
                if counter.leave_all():
                    mode.resume()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        for handle in handles:
            handle.remove()
        counter.forget()


def _before(counter: Counter, mode: FunctionalOperations, name: str, module: nn.Module) -> Callable[..., None]:
    whole = counter.is_known_whole(name, module)

    def hook(_module: nn.Module, _inputs: tuple[Any, ...]) -> None:
        counter.enter(name, paused=whole and mode.pause())

    return hook


def _after(counter: Counter, mode: FunctionalOperations, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        paused = counter.leave(name)
        try:
            rule = counter.ran(name, output)
            if rule is not None:
                # What the rule itself computes runs under the mode too, and is no operation of the model.
                with nullcontext() if paused else _disable_current_modes():
                    rule(name, module, (*inputs, *named.values()), output[0] if isinstance(output, tuple | list) else output)
        finally:
            if paused:
                mode.resume()

    return hook


def _eager(model: nn.Module) -> AbstractContextManager[object]:
    """A compiled model runs as it is written: what hooks see would else be compiled too."""
    compiled = any(type(one).__name__ == "OptimizedModule" or one._compiled_call_impl is not None for one in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _run(model: nn.Module, x: Tensor | Several, steps: int | None, counter: Counter, name: str) -> None:
    _forward(model, x, counter, name)
    if steps is None:
        return
    if counter.steps == 1:
        for _ in range(steps - 1):
            _forward(model, x, counter, name)
    if counter.steps not in (0, steps):
        raise UserError(f"{name}: its neurons run for {counter.steps} time steps, steps={steps} given")


def _forward(model: nn.Module, x: Tensor | Several, counter: Counter, name: str) -> None:
    try:
        model(*(x.tensors if isinstance(x, Several) else (x,)))
    except (UserError, Failure):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f" (in layer {counter.raised_in})" if counter.raised_in else ""
        raise UserError(f"{name}: does not run on an input of shape {tuple(x.shape)}: {reason}{where}") from error


def record(model: nn.Module, sample: Tensor, neurons: Mapping[str, Sequence[int]] | int = _EACH) -> dict[str, Tensor]:
    """Run one sample and keep what chosen neurons emit.

    Args:
        model: any torch module; called in evaluation mode, without gradients, and left as it was.
        sample: as the model takes it, with one sample in its batch.
        neurons: spiking layer → numbers of its neurons, counted over all axes of a sample; or how many of every layer, drawn
            once at random.

    Returns:
        Spiking layer → `[T, neurons]`.

    Raises:
        UserError: there is no spiking layer, none of that name, or no neuron of that number.
    """
    layers = {name: (module, layer) for name, module in model.named_modules() if (layer := neurons_of(module)) and layer.fires}
    wanted = layers if isinstance(neurons, int) else neurons
    if not layers:
        raise UserError("no spiking layer found; teach the counter its class with register_neuron")
    for name in wanted:
        if name not in layers:
            raise UserError(f"layer {name}: no spiking layer of that name; there are {', '.join(layers)}")
    kept: dict[str, list[Tensor]] = {name: [] for name in wanted}
    handles = [layers[name][0].register_forward_hook(_keeper(kept[name], layers[name][1])) for name in wanted]
    try:
        with _evaluating(model), torch.no_grad():
            reset_states(model)
            model(sample)
    finally:
        for handle in handles:
            handle.remove()
    emitted = {name: torch.cat(steps).flatten(1) for name, steps in kept.items() if steps}
    return {name: spikes[:, _numbers(name, spikes.shape[1], neurons)] for name, spikes in emitted.items()}


def _keeper(steps: list[Tensor], neurons: NeuronLayer) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        rows, _, _ = neurons.by_row((output[0] if isinstance(output, tuple) else output).detach().cpu())
        steps.append(rows)

    return hook


def _numbers(name: str, count: int, neurons: Mapping[str, Sequence[int]] | int) -> list[int]:
    if isinstance(neurons, int):
        drawn = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:neurons]
        return sorted(drawn.tolist())
    for number in neurons[name]:
        if not 0 <= number < count:
            raise UserError(f"layer {name}: neuron {number} asked for, a number from 0 to {count - 1} expected")
    return list(neurons[name])
