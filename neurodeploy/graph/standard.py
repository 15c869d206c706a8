"""Cells that are standard neurons, as such: synaptic current, delay, weights and an IF or LIF neuron instead of an update.

What a chip or a file format knows are standard neurons. Where an update is one of them (`neurodeploy.dynamics.forms`), its
gains and offsets go into the weights before it and its threshold into the unit of the potential. The sums are then taken in
another order and round otherwise, so that a spike in many may differ: whoever exports such a graph counts them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np

from neurodeploy.dynamics.forms import Constant, NoForm, StandardForm, standard_form
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters, Reset
from neurodeploy.dynamics.updates import Operand, Program, Update
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.graph.scales import fold_scales

_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class Standardized:
    """A graph without those cells that are standard neurons.

    Attributes:
        graph: the network.
        replaced: names of the cells and membranes that are standard now, in order.
    """

    graph: Graph
    replaced: tuple[str, ...] = ()


class _Stays(Exception):
    """Why a cell is no standard node."""


def standardized(graph: Graph, *, arrays: bool = False) -> Standardized:
    """Every cell and membrane that is a standard neuron or filter becomes one, under its own name; others stay.

    A hard reset goes to 0: the potential is counted from the level of the reset. `h ≥ θ` becomes `h > θ'` with the next smaller
    float32. What is scaled or shifted goes into the weights before it where it can.

    Args:
        graph: the network.
        arrays: neurons of a layer that differ in decay or threshold become a `leaky` cell; else they stay.
    """
    if not graph.of(ops.Updated):
        return Standardized(graph)
    members: list[Node] = []
    replaced = []
    for node in graph.nodes:
        made: Sequence[Node] = [node]
        if isinstance(node, ops.Updated) and leaky(node) is None:
            with suppress(_Stays):
                made = _replaced(node, graph.shape(node.name), arrays=arrays)
                replaced.append(node.name)
        members += made
    plain = Graph(members)
    return Standardized(fold_scales(plain) if plain.of(ops.BatchNormNode) else plain, tuple(replaced))


def why_not(node: ops.Updated, shape: Shape, *, arrays: bool = False) -> str:
    """Why a cell or membrane stays as it is, as `standardized` is asked; empty if it does not."""
    try:
        _replaced(node, shape, arrays=arrays)
    except _Stays as stays:
        return str(stays)
    return ""


def _replaced(node: ops.Updated, shape: Shape, *, arrays: bool) -> list[Node]:
    try:
        return _Replacement(node, shape).nodes()
    except _Stays:
        if not arrays:
            raise
    return _LeakyReplacement(node, shape).nodes()


Recurrence: TypeAlias = Literal["none", "direct", "current", "late current"]
"""How spikes of the step before come back: not at all, to the potential, or through a synaptic current, which the membrane
reads in the same step or a step later."""
_RECURRENT: tuple[Recurrence, ...] = ("direct", "current", "late current")


def leaky_update(reset: Reset | None, recurrence: Recurrence = "none") -> Update:
    """Of standard neurons whose constants are arrays: decays, thresholds, and decays of the current where it has recurrence.

    Args:
        reset: None: of a filter, which has decays alone.
        recurrence: see there.
    """
    step = Program()
    entering: Operand = ("input", 0)
    states: list[tuple[float, Operand]] = []
    if recurrence != "none":
        entering = step("add", entering, ("input", 1))
    if recurrence in ("current", "late current"):
        current = step("add", step("mul", ("array", 2), ("state", 1)), entering)
        states.append((0.0, current))
        entering = current if recurrence == "current" else ("state", 1)
    h = step("add", step("mul", ("array", 0), ("state", 0)), entering)
    if reset is None:
        return step.update(h, (0.0, h))
    fired = step("gt", h, ("array", 1))
    after = h
    if reset == "hard":
        after = step("where", fired, 0.0, h)
    elif reset == "soft":
        after = step("sub", h, step("mul", ("array", 1), fired))
    return step.update(fired, (0.0, after), *states, inputs=1 if recurrence == "none" else 2)


@dataclass(frozen=True, eq=False)
class Leaky:
    """Constants of standard neurons that are written as a cell, because they differ within a layer, or their spikes come back
    through weights: of `neuron_step`, or of `synapse_step` without threshold.

    ```
    i[t] = α i[t−1] + x[t] + W s[t−1]      with recurrence through a current
    h[t] = λ v[t−1] + i[t]                 or i[t−1]; without recurrence λ v[t−1] + x[t]
    ```

    Attributes:
        decay, threshold: λ and θ, numbers, or arrays of the shape of a sample.
        reset: of a layer that fires.
        current_decay: α, likewise; None of neurons without a current of their own.
        late: the membrane reads the current of the step before.
    """

    decay: Any
    threshold: Any | None
    reset: Reset
    current_decay: Any | None = None
    late: bool = False


def leaky(node: ops.Updated) -> Leaky | None:
    """The constants of a cell whose update is that of a standard neuron as it stands, W being `node.recurrent` if there is
    recurrence; None of any other cell."""
    if len(node.inputs) != 1 or node.recurrent_bias is not None:
        return None
    if node.recurrent is not None:
        return _returning(node) if isinstance(node, ops.CellNode) else None
    if isinstance(node, ops.MembraneNode):
        return Leaky(node.arrays[0], None, "none") if node.update == leaky_update(None) else None
    for reset in RESETS:
        if node.update == leaky_update(reset):
            return Leaky(node.arrays[0], node.arrays[1], reset)
    return None


def _returning(node: ops.CellNode) -> Leaky | None:
    for reset, recurrence in product(RESETS, _RECURRENT):
        if node.update == leaky_update(reset, recurrence):
            current_decay = None if recurrence == "direct" else node.arrays[2]
            return Leaky(node.arrays[0], node.arrays[1], reset, current_decay, late=recurrence == "late current")
    return None


def recurrent_cell(name: str, source: str, weight: ops.Weights, constants: Leaky, shape: Shape) -> ops.CellNode:
    """Standard neurons whose spikes come back in the next step, as the cell that `leaky` knows.

    Args:
        name, source: of the node, and of what it reads.
        weight: `[N, N]`, of the flattened layer.
        constants: of its neurons, which fire.
        shape: of a sample.
    """
    assert constants.threshold is not None
    late: Recurrence = "late current" if constants.late else "current"
    recurrence: Recurrence = "direct" if constants.current_decay is None else late
    held = [constants.decay, constants.threshold, *([] if constants.current_decay is None else [constants.current_decay])]
    arrays = tuple(np.ascontiguousarray(np.broadcast_to(np.asarray(one, np.float32), shape)) for one in held)
    update = leaky_update(constants.reset, recurrence)
    return ops.CellNode(name=name, inputs=(source,), update=update, arrays=arrays, recurrent=np.asarray(weight, np.float32))


class _Replacement:
    """The nodes of one cell."""

    def __init__(self, node: ops.Updated, shape: Shape) -> None:
        self.node, self.shape = node, shape
        self.made: list[Node] = []

    def nodes(self) -> list[Node]:
        """In order; the last has the cell's name.

        Raises:
            _Stays: the cell is no standard neuron, or one whose constants the nodes cannot hold.
        """
        node = self.node
        form = standard_form(node.update, node.arrays)
        if isinstance(form, NoForm):
            raise _Stays(f"its neurons {form.reason}")
        spiking = isinstance(node, ops.CellNode)
        if spiking == (form.threshold is None):
            raise _Stays("its neurons never fire" if spiking else "its answers are spikes")
        if node.recurrent is not None and not spiking:
            raise _Stays("other values than spikes come back to it through weights")
        return self._membrane(form) if form.threshold is None else self._neuron(form, form.threshold)

    def _neuron(self, form: StandardForm, threshold: Constant) -> list[Node]:
        above, bias = self._from_zero(form, threshold)
        threshold = self._channels(above)
        form, back = self._apart(form)
        gains = [self._channels(gain) for gain in form.gains]
        unit = gains[0] if len(gains) == 1 and np.all(gains[0] > 0) and _uniform(threshold / gains[0]) else threshold
        unit = np.ones_like(unit) if len(gains) > 1 and _uniform(threshold) else unit
        level = np.float32((threshold / unit)[0])
        if not form.strict:
            level = np.nextafter(level, np.float32(0))
        if back is not None:
            constants = Leaky(self._decay(form.decay, "decay"), level, form.reset)
            if form.current is not None:
                decay = self._decay(form.current.decay, "decay of the current")
                constants = replace(constants, current_decay=decay, late=form.current.late)
            return self._recurrent(form, back, self._over_places(unit), bias, constants)
        current = self._current(form, [gain / unit for gain in gains], self._channels(bias) / unit)
        parameters = NeuronParameters(self._decay(form.decay, "decay"), float(level), form.reset)
        self.made.append(ops.NeuronNode(name=self.node.name, inputs=(current,), parameters=parameters))
        return self.made

    def _apart(self, form: StandardForm) -> tuple[StandardForm, Constant | None]:
        """The form without its last input, which comes back through weights, and the gain of that; None if there is none."""
        if self.node.recurrent is None:
            return form, None
        if form.current is None:
            return replace(form, gains=form.gains[:-1]), form.gains[-1]
        *others, back = form.current.gains
        return replace(form, current=replace(form.current, gains=tuple(others))), back

    def _recurrent(self, form: StandardForm, back: Constant, unit: Constant, bias: Constant, constants: Leaky) -> list[Node]:
        """Neurons whose spikes come back.

        Args:
            form: without what comes back.
            back: the gain of that.
            unit: of the potential, in that of the form; a number, or one per channel.
            bias: of the membrane, in the unit of the form.
            constants: in units of the potential.
        """
        assert self.node.recurrent is not None
        gains, charge = [gain / unit for gain in form.gains], self._channels(bias / unit)
        if form.current is None:
            gains, shift, back = [self._channels(gain) for gain in gains], charge, self._channels(back / unit)
        elif np.any(charge):
            raise _Stays("have a bias beside the current through which their spikes come back")
        else:  # the one gain of the current goes before it, with those of the inputs: both are linear
            (gain,) = gains
            gains = [self._channels(gain * entering) for entering in form.current.gains]
            shift, back = self._channels(gain * form.current.bias), self._channels(gain * back)
        rows = np.repeat(back, prod(self.shape[1:]))
        if self.node.recurrent_bias is not None:
            shift = shift + self._channels((rows * self.node.recurrent_bias).reshape(self.shape))
        weight = (self.node.recurrent * rows[:, None]).astype(np.float32)
        source = self._weighted("input", gains, shift)
        self.made.append(recurrent_cell(self.node.name, source, weight, constants, self.shape))
        return self.made

    def _from_zero(self, form: StandardForm, threshold: Constant) -> tuple[Constant, Constant]:
        """Threshold and bias from the potential that is to be 0, at which a neuron begins and to which it is reset."""
        zero = {"hard": form.level, "soft": threshold - form.amount, "none": form.initial}[form.reset]
        if not _close(form.initial, zero, threshold):
            if form.reset == "soft" and not np.any(form.initial):
                raise _Stays(
                    "a spike subtracts another number than the threshold, as one does that is subtracted a step late, after "
                    "the leak; reset without delay"
                )
            raise _Stays("its potential begins with another value than a reset leaves")
        if not np.all(threshold > zero):
            raise _Stays("its threshold is not above the potential that a reset leaves")
        return threshold - zero, form.bias + (form.decay - 1) * zero

    def _membrane(self, form: StandardForm) -> list[Node]:
        factor, offset = form.output
        if np.any(form.initial):
            raise _Stays("its potential does not begin with 0")
        gains = [self._channels(gain * factor) for gain in form.gains]
        current = self._current(form, gains, self._channels(form.bias * factor))
        name = f"{self.node.name}.potential" if np.any(offset) else self.node.name
        self.made.append(self._filter(name, current, form.decay))
        if np.any(offset):
            shift = self._channels(offset).astype(np.float32)
            scale = np.ones_like(shift)
            self.made.append(ops.BatchNormNode(name=self.node.name, inputs=(name,), scale=scale, shift=shift))
        return self.made

    def _filter(self, name: str, current: str, decay: Constant) -> Node:
        return ops.LowPassNode(name=name, inputs=(current,), decay=self._decay(decay, "decay"))

    def _current(self, form: StandardForm, gains: list[Constant], bias: Constant) -> str:
        """What charges the membrane."""
        name = self.node.name
        if form.current is None:
            return self._weighted("input", gains, bias)
        entering = [self._channels(gain) for gain in form.current.gains]
        offset = self._channels(form.current.bias)
        decay = self._decay(form.current.decay, "decay of the current")
        # the one gain of the current goes before its filter, with those of the inputs: both are linear
        source = self._weighted("input", [gain * gains[0] for gain in entering], offset * gains[0])
        self.made.append(ops.LowPassNode(name=f"{name}.current", inputs=(source,), decay=decay))
        if form.current.late:
            self.made.append(ops.DelayNode(name=f"{name}.late", inputs=(f"{name}.current",), steps=1))
        if not np.any(bias):
            return self.made[-1].name
        return self._scaled("charge", self.made[-1].name, np.ones_like(bias), bias)

    def _weighted(self, what: str, gains: list[Constant], bias: Constant) -> str:
        """The sum of the inputs with these gains."""
        total = ""
        for number, (source, gain) in enumerate(zip(self.node.inputs, gains, strict=True)):
            shift = bias if number == 0 else np.zeros_like(bias)
            own = self._scaled(f"{what}{number or ''}", source, gain, shift)
            if total:
                self.made.append(ops.AddNode(name=f"{self.node.name}.sum{number}", inputs=(total, own)))
                own = self.made[-1].name
            total = own
        return total

    def _scaled(self, what: str, source: str, gain: Constant, shift: Constant) -> str:
        if np.all(np.abs(gain - 1) <= _CLOSE) and not np.any(shift):
            return source
        scale, offset = (np.broadcast_to(one, (self.shape[0],)).astype(np.float32) for one in (gain, shift))
        self.made.append(ops.BatchNormNode(name=f"{self.node.name}.{what}", inputs=(source,), scale=scale, shift=offset))
        return self.made[-1].name

    def _over_places(self, channels: Constant) -> Constant:
        """One number per channel, of a shape that is broadcast against one sample."""
        return channels.reshape(-1, *(1,) * (len(self.shape) - 1))

    def _channels(self, value: Constant) -> Constant:
        """One number per channel.

        Raises:
            _Stays: they differ within a channel.
        """
        whole = np.broadcast_to(value, self.shape).reshape(self.shape[0], -1)
        if not (whole == whole[:, :1]).all():
            raise _Stays("constants differ between the neurons of a channel")
        return np.array(whole[:, 0], np.float64)

    def _decay(self, value: Constant, what: str) -> float:
        each = self._channels(value)
        if not _uniform(each):
            raise _Stays(f"its {what} differs between neurons")
        if not 0 <= each[0] <= 1 + _CLOSE:
            raise _Stays(f"its {what} is {each[0]:.3g}, from 0 to 1 expected")
        return float(np.float32(min(each[0], 1.0)))


class _LeakyReplacement(_Replacement):
    """With constants of its own for each neuron."""

    def _neuron(self, form: StandardForm, threshold: Constant) -> list[Node]:
        above, bias = self._from_zero(form, threshold)
        form, back = self._apart(form)
        gains = list(form.gains)
        # one current, whatever its gains are, is charged as it is, in units of its gain
        unit = gains[0] if len(gains) == 1 and np.all(gains[0] > 0) else np.ones(())
        if back is not None:
            return self._each_recurrent(form, back, unit, above / unit, bias)
        channels = [self._channels(gain / unit) for gain in gains]
        current = self._current(form, channels, self._channels(bias / unit))
        level = self._each(above / unit)
        level = level if form.strict else np.nextafter(level, np.float32(0))
        arrays, update = (self._each(form.decay), level), leaky_update(form.reset)
        self._check_decays(arrays[0])
        self.made.append(ops.CellNode(name=self.node.name, inputs=(current,), update=update, arrays=arrays))
        return self.made

    def _each_recurrent(
        self, form: StandardForm, back: Constant, unit: Constant, threshold: Constant, bias: Constant
    ) -> list[Node]:
        level, decay = self._each(threshold), self._each(form.decay)
        level = level if form.strict else np.nextafter(level, np.float32(0))
        constants = Leaky(decay, level, form.reset)
        if form.current is not None:
            constants = replace(constants, current_decay=self._each(form.current.decay), late=form.current.late)
        for decays in (decay, constants.current_decay):
            if decays is not None:
                self._check_decays(decays)
        return self._recurrent(form, back, unit, bias, constants)

    def _filter(self, name: str, current: str, decay: Constant) -> Node:
        each = self._each(decay)
        self._check_decays(each)
        return ops.MembraneNode(name=name, inputs=(current,), update=leaky_update(None), arrays=(each,))

    def _each(self, value: Constant) -> ops.Weights:
        """One number per neuron."""
        return np.ascontiguousarray(np.broadcast_to(value, self.shape), np.float32)

    def _check_decays(self, decays: ops.Weights) -> None:
        if not (decays.min() >= 0 and decays.max() <= 1):
            raise _Stays(f"its decays are {decays.min():.3g} to {decays.max():.3g}, from 0 to 1 expected")


def _uniform(values: Constant) -> bool:
    return bool(np.all(np.abs(values - values[0]) <= _CLOSE * np.abs(values[0])))


def _close(one: Constant, other: Constant, beside: Any) -> bool:
    return bool(np.all(np.abs(np.asarray(one) - other) <= _CLOSE * np.abs(beside)))
