"""Running a model over data while its spikes and operations are counted, and recording single neurons of one sample.

Hooks on the modules say where the pass is; a mode sees what runs outside of them; there is no second forward pass.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.functional import FunctionalOperations
from neurodeploy_energy.count.layer import LayerRow, Series
from neurodeploy_energy.count.recognition import NeuronLayer, neurons_of, reset_states
from neurodeploy_energy.count.rows import layer_rows
from neurodeploy_energy.count.samples import check_answer, check_layout, check_model, check_samples
from neurodeploy_energy.count.state import States, reset_of, rest

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

    def dim(self) -> int:
        """Axes of the first."""
        return self.tensors[0].dim()

    def split(self, size: int, axis: int = 0) -> "list[Several]":
        """So many samples at a time."""
        return [Several(parts) for parts in zip(*(x.split(size, axis) for x in self.tensors), strict=True)]

    def narrow(self, axis: int, first: int, size: int) -> "Several":
        """Some samples, as of a tensor."""
        return Several(tuple(x.narrow(axis, first, size) for x in self.tensors))

    def unbind(self, axis: int) -> "list[Several]":
        """One time step at a time."""
        return [Several(parts) for parts in zip(*(x.unbind(axis) for x in self.tensors), strict=True)]


Batches = Tensor | Several | Iterable[Tensor | Several | tuple[Tensor, ...]]


def _tensors_of(x: Tensor | Several) -> tuple[Tensor, ...]:
    return x.tensors if isinstance(x, Several) else (x,)


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


@dataclass(frozen=True)
class RunSetting:
    """How a model is run and counted; see `account` for what each means."""

    steps: int | None = None
    batch_axis: int | None = None
    time_axis: int | None = None
    events: bool | None = None
    neurons: Mapping[str, NeuronLayer] = field(default_factory=dict)
    padded: bool = False


def count(model: nn.Module, batches: Batches, setting: RunSetting, *, name: str) -> Counted:
    """Count everything that a model computes on data; see `account` for the arguments, and for what is counted as what.

    Raises:
        UserError: there are no samples, the model does not run on them, no layer can be counted, or the neurons see another
            number of steps.
    """
    check_model(model, setting.steps, setting.neurons, name)
    counter, samples = Counter(model, neurons=setting.neurons, padded=setting.padded), 0
    with evaluating(model), _eager(model), _seeded(), torch.no_grad():
        rest(model)
        states = States(model)
        try:
            for batch in [batches] if isinstance(batches, Tensor | Several) else batches:
                x = _input_of(batch, name)
                if samples == 0:
                    setting = replace(setting, batch_axis=batch_axis_of(model, x, setting, name, states))
                axis = setting.batch_axis or 0
                for tensor in _tensors_of(x):
                    check_samples(tensor, axis, samples, name)
                states.restore()
                _run_batch(model, x, setting, counter, name, samples)
                if samples == 0:
                    _check_rest(model, x, setting, states, name)
                samples += x.shape[axis]
        finally:
            states.restore()
    if samples == 0:
        raise UserError(f"{name}: no samples given, at least one batch expected")
    steps = counter.finish(setting.events)
    tallies = counter.tallies
    if not any(tally.kind not in ("average pool", "max pool", "sum") for tally in tallies.values()):
        raise UserError(f"{name}: no layer that can be counted was called; convolutions, linear layers or neurons expected")
    series = {layer: one for layer, tally in tallies.items() if (one := tally.series()) is not None}
    return Counted(samples, steps, layer_rows(tallies, samples, steps), series, dict(counter.uncounted))


def _run_batch(model: nn.Module, x: Tensor | Several, setting: RunSetting, counter: Counter, name: str, before: int = 0) -> Any:
    axis = setting.batch_axis or 0
    counter.begin_batch(x.shape[axis])
    try:
        with _attached(counter):
            answer = _run(model, x, setting, counter, name)
        _check_axes(x, setting, counter, name)
        check_answer(answer, x.shape[axis], before, name)
        counter.end_of_batch()
    finally:
        counter.forget()
    return answer


def _check_axes(x: Tensor | Several, setting: RunSetting, counter: Counter, name: str) -> None:
    axis = setting.batch_axis or 0
    if counter.misread:
        layer, seen = next(iter(counter.misread.items()))
        raise UserError(
            f"{name}: layer {layer}: its neurons get {seen} samples, and axis {axis} of the input {tuple(x.shape)} has "
            f"{x.shape[axis]}; say which axis holds the samples with batch_axis (--batch-axis)"
        )
    if setting.time_axis is not None and counter.steps not in (0, x.shape[setting.time_axis]):
        size = x.shape[setting.time_axis]
        raise UserError(
            f"{name}: time_axis: axis {setting.time_axis} of the input has {size} time steps, its neurons see {counter.steps}; "
            f"leave it out, or give steps={size} for a model that takes one step in a call"
        )


def _check_rest(model: nn.Module, x: Tensor | Several, setting: RunSetting, states: States, name: str) -> None:
    """Refuse a model that begins with a state of an earlier run, which changes what it counts."""
    changed = [(module, key) for module, key in states.changed() if reset_of(module) is None]
    if not changed:
        return
    axis = setting.batch_axis or 0
    few, totals = x.narrow(axis, 0, min(_FEW, x.shape[axis])), []
    states.restore()
    for _ in range(2):
        counter = Counter(model, neurons=setting.neurons)
        torch.manual_seed(0)
        _run_batch(model, few, setting, counter, name)
        counter.finish(setting.events)
        totals.append([(layer, tally.spikes, tally.sops, tally.analog_macs) for layer, tally in counter.tallies.items()])
    if totals[0] != totals[1]:
        names = {id(module): layer for layer, module in model.named_modules()}
        module, key = changed[0]
        raise UserError(
            f"{name}: layer {names[id(module)] or type(module).__name__}: keeps {key} between calls, and holds that of an "
            f"earlier run, so that its counts would be of no defined state; make the model anew, or give the class a reset()"
        )


def samples_axis(
    model: nn.Module, x: Tensor | Several, *, steps: int | None, batch_axis: int | None, time_axis: int | None, name: str
) -> int:
    """The axis of the samples in data that a model takes; see `account` for the arguments.

    Raises:
        UserError: there is none, or it is not clear.
    """
    check_model(model, steps, (), name)
    for one in _tensors_of(x):
        check_layout(one, name)
        if one.dim() == 0 or not one.numel():
            raise UserError(f"{name}: no samples given, at least one expected")
    with evaluating(model), _eager(model), _seeded(), torch.no_grad():
        rest(model)
        states = States(model)
        try:
            return batch_axis_of(model, x, RunSetting(steps, batch_axis, time_axis), name, states)
        finally:
            states.restore()


def batch_axis_of(model: nn.Module, x: Tensor | Several, setting: RunSetting, name: str, states: States | None = None) -> int:
    """The axis of the samples: that along which one sample alone counts what it counts among others.

    Args:
        model: in evaluation mode.
        x: some samples.
        setting: if it names the axis, that is checked.
        name: of the model.
        states: of the model at rest.

    Raises:
        UserError: there is no such axis, or along none a sample alone counts what it counts among others.
    """
    given = setting.batch_axis
    if given is not None and not -x.dim() <= given < x.dim():
        raise UserError(f"{name}: batch_axis: {given} found, an axis of the input {tuple(x.shape)} expected")
    both = isinstance(x, Tensor) and x.dim() > 1  # of several inputs axis 1 may be another thing in each
    candidates = [given % x.dim()] if given is not None else [0, 1] if both else [0]
    states = States(model) if states is None else states
    found = {axis: _stands_alone(model, x, replace(setting, batch_axis=axis), name, states) for axis in candidates[:1]}
    if given is None and both and (found[0] is False or (found[0] is None and x.shape[1] > 1)):
        found[1] = _stands_alone(model, x, replace(setting, batch_axis=1), name, states)
    for axis, alone in found.items():
        if alone is True:
            return axis
    if found[candidates[0]] is None:
        return candidates[0]  # nothing could be tried: what is wrong with it is said when the model runs
    along = "neither axis 0 nor axis 1" if given is None else f"axis {given}"
    counts = "counts" if given is None else "does not count"
    raise UserError(
        f"{name}: batch_axis: along {along} of the input {tuple(x.shape)} a sample alone {counts} what it counts among others; "
        "say which axis holds the samples with batch_axis (--batch-axis), unless the samples of a batch depend on each other"
    )


_FEW = 3


def _stands_alone(model: nn.Module, x: Tensor | Several, setting: RunSetting, name: str, states: States) -> bool | None:
    """Whether one sample alone counts what it counts among a few; None if that cannot be tried."""
    axis = setting.batch_axis or 0
    few = x.narrow(axis, 0, min(_FEW, x.shape[axis]))
    runs = []
    for samples in (few, few.narrow(axis, few.shape[axis] - 1, 1)):
        counter = Counter(model, neurons=setting.neurons)
        states.restore()
        try:
            answer = _run_batch(model, samples, setting, counter, name)
        except (UserError, OverflowError):
            return False if counter.misread else None
        runs.append((counter, answer))
    (among, answers), (alone, answer) = runs
    if few.shape[axis] == 1 or among.draws:
        return True
    steps = [
        max((t.rows // n for t in c.tallies.values() if t.kind == "neuron"), default=1)
        for c, n in ((among, few.shape[axis]), (alone, 1))
    ]
    return steps[0] == steps[1] and _same_answer(answers, answer, few.shape[axis])


def _same_answer(answers: Any, answer: Any, batch: int) -> bool:
    first = [one[0] if isinstance(one, tuple | list) and one else one for one in (answers, answer)]
    if not all(isinstance(one, Tensor) for one in first):
        return True
    several, single = first
    if several.numel() != batch * single.numel() or several.dim() != single.dim():
        return several.numel() == batch * single.numel()
    compared = False
    for axis in range(several.dim()):
        if several.numel() and several.shape[axis] == batch and single.shape[axis] == 1:
            compared, one = True, several.narrow(axis, batch - 1, 1).double()
            close = torch.isclose(one, single.double(), rtol=1e-2, atol=1e-3 * float(one.abs().max()))
            apart, size = float((one - single).norm()), float(one.norm())
            if float(close.double().mean()) > 0.5 or apart < 0.5 * size:  # a rounding may move a spike, and that others
                return True
    return not compared and several.dim() > 0 and batch * single.shape[0] == several.shape[0]


def _input_of(batch: object, name: str) -> Tensor | Several:
    if isinstance(batch, Several):
        return Several(tuple(_input_of_one(one, name) for one in batch.tensors))
    return _input_of_one(batch, name)


def _input_of_one(batch: object, name: str) -> Tensor:
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor) or x.dim() == 0:
        kind = "number" if isinstance(x, Tensor) else type(x).__name__
        raise UserError(f"{name}: a batch is a {kind}, a tensor or a tuple that begins with one expected")
    check_layout(x, name)
    return x


@contextmanager
def _seeded() -> Iterator[None]:
    """Random numbers inside are the same in every call, and those of the caller go on as if nothing had been."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        torch.manual_seed(0)
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
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
                    counter.also_made(output)
        finally:
            if paused:
                mode.resume()

    return hook


def _eager(model: nn.Module) -> AbstractContextManager[object]:
    """A compiled model runs as it is written: what hooks see would else be compiled too."""
    compiled = any(type(one).__name__ == "OptimizedModule" or one._compiled_call_impl is not None for one in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _run(model: nn.Module, x: Tensor | Several, setting: RunSetting, counter: Counter, name: str) -> Any:
    steps = setting.steps
    if steps is not None and setting.time_axis is not None:
        if x.shape[setting.time_axis] != steps:
            size = x.shape[setting.time_axis]
            raise UserError(f"{name}: steps: {steps} found, {size} expected, the size of the input's axis {setting.time_axis}")
        answers = [_forward(model, one, counter, name) for one in x.unbind(setting.time_axis)]
        return answers[-1]
    answer = _forward(model, x, counter, name)
    if steps is None:
        return answer
    if counter.steps == 1:
        for _ in range(steps - 1):
            answer = _forward(model, x, counter, name)
    if counter.steps not in (0, steps):
        raise UserError(f"{name}: its neurons run for {counter.steps} time steps, steps={steps} given")
    return answer


def _forward(model: nn.Module, x: Tensor | Several, counter: Counter, name: str) -> Any:
    for one in _tensors_of(x):
        counter.reads_data(one)
    try:
        answer = model(*_tensors_of(x))
    except (UserError, Failure):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f" (in layer {counter.raised_in})" if counter.raised_in else ""
        raise UserError(f"{name}: does not run on an input of shape {tuple(x.shape)}: {reason}{where}") from error
    counter.answered(answer)
    return answer


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
        with evaluating(model), torch.no_grad():
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
