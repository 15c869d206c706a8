"""What a function of torch becomes in a graph: rules by the function's name, and what they write into.

A rule has the signature of its function. In place of a tensor that depends on the samples it gets a `TracedTensor`; every other
tensor is a constant of the module, whatever made it. It answers with the signal of the function's result, or one for each of
several results. What has no rule is refused, never skipped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.graph import ops
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.graph.tracing.traced_tensor import Lead, TracedTensor, regrouped
from neurodeploy.io.errors import UserError

Answer: TypeAlias = TracedTensor | Sequence[TracedTensor]
Rule = TypeVar("Rule", bound=Callable[..., Answer])

FUNCTIONS: dict[str, Callable[..., Answer]] = {}
REFUSED: dict[str, str] = {}
"""Functions that have no form in a graph, with what to do instead."""
OF_A_PART = frozenset(("mean",))
"""What may read a tensor that lacks its first time steps."""
TIME_LAST_TOO: set[str] = set()
"""What may read a tensor `[B, …, T]`: functions whose rules know that time is behind the axes of the sample, or need not."""


def function(*names: str, time_last: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule of functions and tensor methods by their names, without module and without the `_` of those in place.

    Args:
        names: of the functions.
        time_last: the rule also takes tensors `[B, …, T]`.
    """

    def register(rule: Rule) -> Rule:
        FUNCTIONS.update(dict.fromkeys(names, rule))
        TIME_LAST_TOO.update(names if time_last else ())
        return rule

    return register


def refused(*names: str, reason: str) -> None:
    """Registers why functions have no form in a graph, and what to do about it."""
    REFUSED.update(dict.fromkeys(names, reason))


@dataclass
class Draft:
    """The nodes so far, and the shapes that they need of each other.

    Attributes:
        batch: B of the samples that are recorded.
        steps: T, once it is known.
        dtype: of the samples.
        reserved: names that nodes must not take unless they are that layer: the module's layers.
        entries: names of the inputs.
    """

    batch: int
    reserved: frozenset[str]
    steps: int = 1
    dtype: torch.dtype = torch.float32
    nodes: dict[str, Node] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    timed: dict[str, bool] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)

    def add(self, node: Node) -> Node:
        self.shapes[node.name] = node.checked_shape([self.shapes[source] for source in node.inputs])
        self.timed[node.name] = node.is_timed([self.timed[source] for source in node.inputs])
        self.nodes[node.name] = node
        return node

    def whole(self, signal: TracedTensor) -> Shape:
        """The shape of a signal's tensor."""
        both, steps = self.steps * self.batch, self.steps - signal.skip
        if signal.time_last:
            return self.batch, *signal.shape, steps
        size = {"B": self.batch, "T": steps, "1": 1, "TB": both, "BT": both}
        return (*(size[axis] for axis in signal.lead), *signal.shape)

    @property
    def takes_sequences(self) -> bool:
        """Whether samples are sequences, of which nobody knows how long others will be."""
        return self.timed[self.entries[0]]

    def total(self, signal: TracedTensor, name: str) -> TracedTensor:
        """The sum over all time steps of a signal, `[B, …]`.

        Of a static sample the steps are known, and it is their mean times their number: so it has a form wherever a mean has.
        """
        if self.takes_sequences:
            added = self.add(ops.LowPassNode(name=self.free_name(name), inputs=(signal.node,), decay=1.0))
            made = self.add(ops.TimeMeanNode(name=self.free_name(f"{name}.last"), inputs=(added.name,), skip=-1))
        else:
            mean = self.add(ops.TimeMeanNode(name=self.free_name(f"{name}.mean"), inputs=(signal.node,)))
            channels = (signal.shape or (1,))[0]
            factor, none = np.full(channels, self.steps, np.float32), np.zeros(channels, np.float32)
            made = self.add(ops.BatchNormNode(name=self.free_name(name), inputs=(mean.name,), scale=factor, shift=none))
        return TracedTensor(made.name, ("B",), signal.shape)

    def free_name(self, wanted: str, *, layer: bool = False) -> str:
        """`wanted`, or the first of `wanted_2`, `wanted_3`, … that no node has."""
        number, name = 1, wanted
        while name in self.nodes or (name in self.reserved and not (layer and number == 1)):
            number += 1
            name = f"{wanted}_{number}"
        return name


@dataclass
class Calling:
    """A call of a function, for its rule.

    Attributes:
        draft: receives the nodes.
        name: for the node of the result.
        of_layer: the name is that of the layer which is running.
        where: names the call in messages: the layer or operation, with its class.
        result: what the function answered.
    """

    draft: Draft
    name: str
    of_layer: bool
    where: str
    result: Any

    def refuse(self, reason: str) -> NoReturn:
        raise UserError(f"{self.where}: {reason}")

    def refuse_part(self) -> NoReturn:
        """Of a tensor that lacks its first time steps, which nothing but the mean over time may read."""
        self.refuse(
            "reads a part of the time steps; a graph answers for all of them: take the mean over time of the part, as in "
            "x[k:].mean(0), right after it"
        )

    def check_time_last(self, name: str, signals: Iterable[TracedTensor]) -> None:
        """Refuse a function of `[B, …, T]` whose rule expects the axes of the sample last."""
        if name not in TIME_LAST_TOO and any(signal.time_last for signal in signals):
            self.refuse(
                "reads a tensor whose last axis is time, which it would take for one of the sample; bring time to the front "
                "before it, as x.movedim(-1, 0) does"
            )

    def node(
        self, kind: type[Any], *reads: TracedTensor, suffix: str = "", lead: Lead | None = None, **fields: Any
    ) -> TracedTensor:
        """Add a node. The signal has the first axes of the one that it reads, if no others are given."""
        if len({read.lead for read in reads}) > 1:
            self.refuse(f"its inputs have the axes {' and '.join(map(str, dict.fromkeys(read.lead for read in reads)))}")
        name = self.draft.free_name(self.name + suffix, layer=self.of_layer)
        inputs = tuple(read.node for read in reads)
        node = self.draft.add(kind(name=name, inputs=inputs, **fields))
        return TracedTensor(node.name, reads[0].lead if lead is None else lead, self.draft.shapes[node.name])

    def shaped(self, signal: TracedTensor, shape: Shape, *, lead: Lead | None = None, suffix: str = "") -> TracedTensor:
        """The same values in C order in another shape of a sample."""
        lead = signal.lead if lead is None else lead
        if shape == signal.shape:
            return TracedTensor(signal.node, lead, shape)
        before = self.draft.nodes[signal.node]
        if isinstance(before, ops.ReshapeNode) and self.draft.shapes[before.inputs[0]] == shape:
            return TracedTensor(before.inputs[0], lead, shape)  # back again, as `[N]` to `[N, 1, 1]` around a convolution
        if len(shape) == 1:
            return self.node(ops.FlattenNode, signal, lead=lead, suffix=suffix)
        return self.node(ops.ReshapeNode, signal, lead=lead, suffix=suffix, shape=shape)

    def viewed(self, signal: TracedTensor, after: Shape) -> TracedTensor:
        """What a tensor is once it has another shape."""
        before = self.draft.whole(signal)
        found = regrouped(signal, before, after, self.draft.batch)
        if found is None:
            self.refuse(
                f"makes {after} of a tensor {before}, whose first axes are {', '.join(signal.lead)} (B: batch, "
                "T: time): samples or steps must not be mixed with other axes"
            )
        lead, shape = found
        return self.shaped(signal, shape, lead=lead, suffix=".view" if signal.time_last else "")

    def one_lead(self, signal: TracedTensor, axes: int | None = None) -> None:
        """Refuse a tensor whose axis 1 is no axis of the sample, or (with `axes`) has another number of spatial ones."""
        first = len(signal.lead) == 1 or signal.time_last
        if not first or (axes is not None and len(signal.shape) != axes + 1):
            expected = "" if axes is None else f" and {axes + 1} axes of the sample"
            self.refuse(
                f"reads a tensor with the axes {', '.join(signal.lead)} and {signal.shape}; one axis of batch (and time)"
                f"{expected} expected"
            )


def takes_name(draft: Draft, before: int) -> bool:
    """Whether one of the nodes after the first `before` has its layer's name; views leave it to what comes after them."""
    return any(not name.endswith(".view") for name in list(draft.nodes)[before:])


def values(constant: Any) -> NDArray[np.float32]:
    """A constant tensor's or number's values in float32."""
    if isinstance(constant, Tensor):
        return constant.detach().cpu().float().numpy().copy()
    return np.asarray(constant, np.float32)


def each(value: Any, axes: int) -> Shape:
    """One number per axis."""
    if isinstance(value, int):
        return (value,) * axes
    several = tuple(int(one) for one in value)
    return several * axes if len(several) == 1 else several
