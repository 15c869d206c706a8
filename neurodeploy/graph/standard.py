"""Cells that are standard neurons, as such: synaptic current, delay, weights and an IF or LIF neuron instead of an update.

What a chip or a file format knows are standard neurons. Where an update is one of them (`neurodeploy.dynamics.forms`), its
gains and offsets go into the weights before it and its threshold into the unit of the potential. The sums are then taken in
another order and round otherwise, so that a spike in many may differ: whoever exports such a graph counts them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurodeploy.dynamics.forms import Constant, NoForm, StandardForm, standard_form
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.graph.scales import fold_scales
from neurodeploy.io.errors import UserError

_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class Standardized:
    """A graph without those cells that are standard neurons.

    Attributes:
        graph: the network.
        replaced: names of the cells and membranes that are standard nodes now, in order.
        reasons: name → why one is not, for those that stay.
    """

    graph: Graph
    replaced: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)

    def check(self, where: str, instead: str, error: type[UserError] = UserError) -> None:
        """Refuse what stays.

        Args:
            where: completes "has no form", such as "in NIR".
            instead: what to do about it.
            error: raised.

        Raises:
            UserError: a cell stays; the message names it and says why.
        """
        for name, reason in self.reasons.items():
            kind = self.graph[name].kind
            raise error(f"node {name} ({kind}): has no form {where}, which knows standard neurons alone: {reason}; {instead}")


class _Stays(Exception):
    """Why a cell is no standard node."""


def standardized(graph: Graph) -> Standardized:
    """Every cell and membrane that is a standard neuron or filter becomes one, under its own name.

    A hard reset goes to 0: the potential is counted from the level of the reset. `h ≥ θ` becomes `h > θ'` with the next smaller
    float32. What is scaled or shifted goes into the weights before it where it can.
    """
    if not graph.of(ops.Updated):
        return Standardized(graph)
    members: list[Node] = []
    replaced, reasons = [], dict[str, str]()
    for node in graph.nodes:
        made: Sequence[Node] = [node]
        if isinstance(node, ops.Updated):
            try:
                made = _Replacement(node, graph.shape(node.name)).nodes()
                replaced.append(node.name)
            except _Stays as stays:
                reasons[node.name] = str(stays)
        members += made
    plain = Graph(members)
    return Standardized(fold_scales(plain) if plain.of(ops.BatchNormNode) else plain, tuple(replaced), reasons)


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
        zero, bias = self._from_zero(form, threshold)
        threshold = self._channels(threshold - zero)
        if not np.all(threshold > 0):
            raise _Stays("its threshold is not above the potential that a reset leaves")
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
        """The potential that is to be 0, at which the neuron begins and to which it is reset, and the bias from there."""
        zero = {"hard": form.level, "soft": threshold - form.amount, "none": form.initial}[form.reset]
        if not _close(form.initial, zero, threshold):
            if form.reset == "soft" and not np.any(form.initial):
                raise _Stays(
                    "a spike subtracts another number than the threshold, as one does that is subtracted a step late, after "
                    "the leak; reset without delay"
                )
            raise _Stays("its potential begins with another value than a reset leaves")
        return zero, form.bias + (form.decay - 1) * zero

    def _membrane(self, form: StandardForm) -> list[Node]:
        factor, offset = form.output
        if np.any(form.initial) or np.any(offset):
            raise _Stays("its potential does not begin with 0")
        gains = [self._channels(gain * factor) for gain in form.gains]
        current = self._current(form, gains, self._channels(form.bias * factor))
        self.made.append(ops.LowPassNode(name=self.node.name, inputs=(current,), decay=self._decay(form.decay, "decay")))
        return self.made

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
            raise _Stays(f"its {what} differs between neurons; give all of them one")
        if not 0 <= each[0] <= 1 + _CLOSE:
            raise _Stays(f"its {what} is {each[0]:.3g}, from 0 to 1 expected")
        return float(np.float32(min(each[0], 1.0)))


def _uniform(values: Constant) -> bool:
    return bool(np.all(np.abs(values - values[0]) <= _CLOSE * np.abs(values[0])))


def _close(one: Constant, other: Constant, beside: Any) -> bool:
    return bool(np.all(np.abs(np.asarray(one) - other) <= _CLOSE * np.abs(beside)))
