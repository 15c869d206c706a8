"""One pass of a model over one batch while it is counted.

Hooks on the modules say where the pass is; a mode sees what runs outside of them; there is no second forward pass.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from neurodeploy.io.errors import Failure, UserError
from neurodeploy_energy.count.batches import Several, tensors_of
from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.functional import FunctionalOperations
from neurodeploy_energy.count.recognition import NeuronLayer
from neurodeploy_energy.count.samples import check_answer


@dataclass(frozen=True)
class RunSetting:
    """How a model is run and counted; see `account` for what each means."""

    steps: int | None = None
    batch_axis: int | None = None
    time_axis: int | None = None
    events: bool | None = None
    neurons: Mapping[str, NeuronLayer] = field(default_factory=dict)
    padded: bool = False
    fold: bool = True


def run_batch(model: nn.Module, x: Tensor | Several, setting: RunSetting, counter: Counter, name: str, before: int = 0) -> Any:
    """Run a model on one batch and add what it costs to a counter; the model's answer.

    Args:
        model: in evaluation mode, and at rest.
        x: the batch.
        setting: how it is run; axis 0 holds the samples if it names none.
        counter: made for this model.
        name: of the model.
        before: samples of the batches before it.

    Raises:
        UserError: the model does not run on the batch, its answer is not finite, or its neurons see other samples or steps.
    """
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
    for one in tensors_of(x):
        counter.reads_data(one)
    try:
        answer = model(*tensors_of(x))
    except (UserError, Failure):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        where = f" (in layer {counter.raised_in})" if counter.raised_in else ""
        raise UserError(f"{name}: does not run on an input of shape {tuple(x.shape)}: {reason}{where}") from error
    counter.answered(answer)
    return answer


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model is in evaluation mode inside, and every module as it was afterwards."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            if module.training != training:  # torch's way to set an attribute takes its time
                module.training = training


@contextmanager
def seeded() -> Iterator[None]:
    """Random numbers inside are the same in every call, and those of the caller go on as if nothing had been."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        torch.manual_seed(0)
        yield


def eager(model: nn.Module) -> AbstractContextManager[object]:
    """A compiled model runs as it is written: what hooks see would else be compiled too."""
    compiled = any(type(one).__name__ == "OptimizedModule" or one._compiled_call_impl is not None for one in model.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


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
