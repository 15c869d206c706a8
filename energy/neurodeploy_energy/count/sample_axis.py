"""Which axis of the data holds the samples: that along which one sample alone counts what it counts among others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.batches import Several, a_few, check_batch, tensors_of
from neurodeploy_energy.count.counter import Counter
from neurodeploy_energy.count.one_pass import RunSetting, eager, evaluating, run_batch, seeded
from neurodeploy_energy.count.recognition import NeuronLayer
from neurodeploy_energy.count.samples import check_layout, check_model
from neurodeploy_energy.count.state import States, rest


def samples_axis(
    model: nn.Module, x: Tensor | Several, *, steps: int | None, batch_axis: int | None, time_axis: int | None, name: str
) -> int:
    """The axis of the samples in data that a model takes; see `account` for the arguments.

    Raises:
        UserError: there is none, or it is not clear.
    """
    check_model(model, steps, (), name)
    for one in tensors_of(x):
        check_layout(one, name)
        if one.dim() == 0 or not one.numel():
            raise UserError(f"{name}: no samples given, at least one expected")
    with evaluating(model), eager(model), seeded(), torch.no_grad():
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
    states = States(model) if states is None else states
    found = _axis(x, setting, name, lambda axis: _stands_alone(model, x, replace(setting, batch_axis=axis), name, states))
    if found is None:  # nothing could be tried: what is wrong with it is said when the model runs
        return 0 if setting.batch_axis is None else setting.batch_axis % x.dim()
    return found


def first_batch(
    model: nn.Module, x: Tensor | Several, setting: RunSetting, name: str, states: States
) -> tuple[Counter, RunSetting]:
    """Count the first batch, along the axis on which its last sample alone counts what it counts among the others.

    Raises:
        UserError: see `batch_axis_of`, and whatever is wrong with the batch.
    """
    counters: dict[int, Counter] = {}
    declared = _declared_axis(model)
    refused: Exception | None = None

    def stands_alone(axis: int) -> bool | None:
        nonlocal refused
        along = replace(setting, batch_axis=axis)
        counters[axis] = Counter(model, neurons=setting.neurons, padded=setting.padded, fold=setting.fold)
        states.restore()
        try:
            answer = run_batch(model, x, along, counters[axis], name)
        except (UserError, OverflowError) as error:
            refused = refused or error
            return False if counters[axis].misread else None
        alike = axis == declared or _is_alike(model, x, along, name, states, counters[axis], answer)
        if alike is False and any(states.changed()):  # a state of an earlier run, which suits so many samples alone
            return _stands_alone(model, x, along, name, states)
        return alike

    try:
        check_batch(x, setting.batch_axis or 0, 0, name)
    except UserError:  # the number of the sample depends on its axis
        check_batch(x, batch_axis_of(model, x, setting, name, states), 0, name)
    axis = _axis(x, setting, name, stands_alone)
    if axis is None and refused is not None:
        raise refused
    axis = (setting.batch_axis or 0) % x.dim() if axis is None else axis  # it ran, and no sample alone does
    return counters[axis], replace(setting, batch_axis=axis)


def _declared_axis(model: nn.Module) -> int | None:
    """The axis of samples that the class of a model says of its own `forward`; None if another one runs.

    A subclass of another package is not believed: it puts layers of its own into that `forward`.
    """
    kind = type(model)
    declaring = next((one for one in kind.__mro__ if "batch_axis" in vars(one)), None)
    if declaring is None or kind.forward is not vars(declaring).get("forward"):
        return None
    if kind.__module__.partition(".")[0] != declaring.__module__.partition(".")[0]:
        return None
    if "forward" in vars(model) or model._forward_pre_hooks:
        return None
    axis = getattr(model, "batch_axis", None)
    return axis if type(axis) is int else None


def _axis(x: Tensor | Several, setting: RunSetting, name: str, stands_alone: Callable[[int], bool | None]) -> int | None:
    """The first axis that is given, or 0 or 1, along which a sample stands alone; None if none could be tried."""
    given = setting.batch_axis
    if given is not None and not -x.dim() <= given < x.dim():
        raise UserError(f"{name}: batch_axis: {given} found, an axis of the input {tuple(x.shape)} expected")
    both = given is None and isinstance(x, Tensor) and x.dim() > 1  # of several inputs axis 1 may be another thing in each
    first = 0 if given is None else given % x.dim()
    alone = stands_alone(first)
    if alone is True:
        return first
    if both and (alone is False or x.shape[1] > 1) and stands_alone(1) is True:
        return 1
    if alone is None:
        return None
    along = "neither axis 0 nor axis 1" if given is None else f"axis {given}"
    counts = "counts" if given is None else "does not count"
    raise UserError(
        f"{name}: batch_axis: along {along} of the input {tuple(x.shape)} a sample alone {counts} what it counts among others; "
        "say which axis holds the samples with batch_axis (--batch-axis), unless the samples of a batch depend on each other"
    )


def _stands_alone(model: nn.Module, x: Tensor | Several, setting: RunSetting, name: str, states: States) -> bool | None:
    """Whether one sample alone counts what it counts among a few; None if that cannot be tried."""
    few = a_few(x, setting.batch_axis or 0)
    among = Counter(model, neurons=setting.neurons)
    states.restore()
    try:
        answers = run_batch(model, few, setting, among, name)
    except (UserError, OverflowError):
        return False if among.misread else None
    return _is_alike(model, few, setting, name, states, among, answers)


def _is_alike(
    model: nn.Module, x: Tensor | Several, setting: RunSetting, name: str, states: States, among: Counter, answers: Any
) -> bool | None:
    """Whether the last sample alone counts what it has counted `among` the others; None if that cannot be tried."""
    axis = setting.batch_axis or 0
    batch = x.shape[axis]
    if batch == 1 or among.draws:
        return True
    last = x.narrow(axis, batch - 1, 1)
    if setting.steps is None and _runs_alike(model, last, states, among, answers, batch):
        return True
    alone = Counter(model, neurons=setting.neurons)
    states.restore()
    try:
        answer = run_batch(model, last, setting, alone, name)
    except (UserError, OverflowError):
        return False if alone.misread else None
    steps = [
        max((t.rows // n for t in c.tallies.values() if t.kind == "neuron"), default=1) for c, n in ((among, batch), (alone, 1))
    ]
    return steps[0] == steps[1] and _same_answer(answers, answer, batch)


def _runs_alike(model: nn.Module, x: Tensor | Several, states: States, among: Counter, answers: Any, batch: int) -> bool:
    """Whether a sample alone, uncounted, is answered as among the others, in as many steps of modules that are neurons.

    Less work than to count it. If not, or where neurons are no modules, its counts are to say it.
    """
    layers = among.neuron_modules()
    several = {label: tally.rows for label, tally in among.tallies.items() if tally.kind == "neuron"}
    if not several.keys() <= layers.keys():
        return False
    rows = dict.fromkeys(several, 0)

    def counting(label: str, neurons: NeuronLayer) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            rows[label] += len(neurons.by_row(output[0] if isinstance(output, tuple | list) else output)[0])

        return hook

    handles = [layers[label][0].register_forward_hook(counting(label, layers[label][1])) for label in several]
    states.restore()
    try:
        answer = model(*tensors_of(x))
    except Exception:  # whatever it is, the pass that counts says it in words
        return False
    finally:
        for handle in handles:
            handle.remove()
    return {label: count * batch for label, count in rows.items()} == several and _same_answer(answers, answer, batch)


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
