"""Cells that are standard neurons, as such: synaptic current, delay, weights and an IF or LIF neuron instead of an update.

What a chip or a file format knows are standard neurons. Where an update is one of them (`neurodeploy.dynamics.forms`), its
gains and offsets go into the weights before it and its threshold into the unit of the potential. The sums are then taken in
another order and round otherwise, so that a spike in many may differ: whoever exports such a graph counts them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurodeploy.dynamics.forms import Constant, NoForm, StandardForm, standard_form
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters, Reset
from neurodeploy.dynamics.updates import Program, Update
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


def leaky_update(reset: Reset | None) -> Update:
    """Of standard neurons whose decays and thresholds are the arrays 0 and 1; None: of a filter, which has decays alone."""
    step = Program()
    h = step("add", step("mul", ("array", 0), ("state", 0)), ("input", 0))
    if reset is None:
        return step.update(h, (0.0, h))
    fired = step("gt", h, ("array", 1))
    after = h
    if reset == "hard":
        after = step("where", fired, 0.0, h)
    elif reset == "soft":
        after = step("sub", h, step("mul", ("array", 1), fired))
    return step.update(fired, (0.0, after))


@dataclass(frozen=True, eq=False)
class Leaky:
    """Constants of standard neurons that differ within a layer: of `neuron_step`, or of `synapse_step` without threshold.

    Attributes:
        decay, threshold: numbers, or arrays of the shape of a sample.
        reset: of a layer that fires.
    """

    decay: Any
    threshold: Any | None
    reset: Reset


def leaky(node: ops.Updated) -> Leaky | None:
    """The constants of a cell whose update is that of a standard neuron as it stands; None of any other."""
    if node.recurrent is not None or len(node.inputs) != 1:
        return None
    if isinstance(node, ops.MembraneNode):
        return Leaky(node.arrays[0], None, "none") if node.update == leaky_update(None) else None
    for reset in RESETS:
        if node.update == leaky_update(reset):
            return Leaky(node.arrays[0], node.arrays[1], reset)
    return None


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
        if node.recurrent is not None:
            raise _Stays("its answers come back to it through weights")
        form = standard_form(node.update, node.arrays)
        if isinstance(form, NoForm):
            raise _Stays(f"its neurons {form.reason}")
        spiking = isinstance(node, ops.CellNode)
        if spiking == (form.threshold is None):
            raise _Stays("its neurons never fire" if spiking else "its answers are spikes")
        return self._membrane(form) if form.threshold is None else self._neuron(form, form.threshold)

    def _neuron(self, form: StandardForm, threshold: Constant) -> list[Node]:
        above, bias = self._from_zero(form, threshold)
        threshold = self._channels(above)
        gains = [self._channels(gain) for gain in form.gains]
        unit = gains[0] if len(gains) == 1 and np.all(gains[0] > 0) and _uniform(threshold / gains[0]) else threshold
        unit = np.ones_like(unit) if len(gains) > 1 and _uniform(threshold) else unit
        current = self._current(form, [gain / unit for gain in gains], self._channels(bias) / unit)
        level = np.float32((threshold / unit)[0])
        if not form.strict:
            level = np.nextafter(level, np.float32(0))
        parameters = NeuronParameters(self._decay(form.decay, "decay"), float(level), form.reset)
        self.made.append(ops.NeuronNode(name=self.node.name, inputs=(current,), parameters=parameters))
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
        gains = list(form.gains)
        # one current, whatever its gains are, is charged as it is, in units of its gain
        unit = gains[0] if len(gains) == 1 and np.all(gains[0] > 0) else np.ones(())
        channels = [self._channels(gain / unit) for gain in gains]
        current = self._current(form, channels, self._channels(bias / unit))
        level = self._each(above / unit)
        level = level if form.strict else np.nextafter(level, np.float32(0))
        arrays, update = (self._each(form.decay), level), leaky_update(form.reset)
        self._check_decays(arrays[0])
        self.made.append(ops.CellNode(name=self.node.name, inputs=(current,), update=update, arrays=arrays))
        return self.made

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
