"""What an operation of a network is: data, and what it means in every place where it is computed.

An operation is one class in one file of this folder, a frozen dataclass called `<Kind>Node`. Its methods say what shape it
makes, what it computes in numpy and by which torch layer, and where its values are on the exact grid; `traced` beside it says
which torch layers become it. Defining the class registers it: see `operations`. What a target of exporters makes of it is in
that target's own table (`neurodeploy.graph.table`).

Shapes are per sample, without the leading `[T, B]`: `(C, H, W)`, `(C, L)` or `(N,)`. Every node has one output, named like the
node, and lists the nodes whose outputs it reads in `inputs`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import floor, log2
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

Shape: TypeAlias = tuple[int, ...]
Array: TypeAlias = NDArray[np.float32]
Weights: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Range:
    """Values are integers of size up to `largest`, times 2^−`exponent` (see `neurodeploy.graph.grid`)."""

    exponent: int
    largest: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Operation(ABC):
    """What every node has.

    Attributes:
        name: unique in the graph; the name of the layer in the model that it comes from.
        inputs: names of the nodes read, in order.
    """

    arity: ClassVar[int] = 1
    variadic: ClassVar[bool] = False
    """It reads `arity` inputs or more."""
    sequential: ClassVar[bool] = False
    """It computes over time, or says what time is: it sees `[T, B, …]`. Others see the steps of all samples as one batch."""

    name: str
    inputs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The operation's name in messages and files, such as "Conv"."""
        return _kind_of(type(self))

    @property
    def keeps_values(self) -> bool:
        """Whether each value that it makes is one that it reads, or 0: spikes stay spikes."""
        return False

    def checked_shape(self, inputs: Sequence[Shape]) -> Shape:
        """Shape of the output, from those of the inputs, of which there must be `arity`, or more if it is `variadic`.

        Raises:
            UserError: the inputs do not fit; the message names the node.
        """
        if len(inputs) != self.arity and not (self.variadic and len(inputs) > self.arity):
            expected = f"at least {self.arity}" if self.variadic else f"{self.arity}"
            raise UserError(f"node {self.name}: {len(inputs)} inputs found, {expected} expected")
        return self.output_shape(inputs)

    @abstractmethod
    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        """Shape of the output, from those of the inputs.

        Raises:
            UserError: the inputs do not fit; the message names the node.
        """

    @abstractmethod
    def compute(self, *inputs: Array) -> Array:
        """The reference meaning in numpy, float32, slow and plain: `[T, B, …]` if `sequential`, else `[N, …]`."""

    @abstractmethod
    def layer(self) -> "nn.Module":
        """A torch layer that computes the same of `[T, B, …]`.

        Raises:
            UserError: there is none; the message names the node.
        """

    def exact_range(self, inputs: Sequence[Range]) -> Range | None:
        """Where its values are on the exact grid; None where they leave it, so that nothing but neurons may read them.

        Raises:
            UserError: its value would depend on the order of a sum, or nobody has said that it does not; the message names the
                node.
        """
        if not self.keeps_values:
            raise UserError(f"node {self.name} ({self.kind}): has no exact form before a spiking layer")
        return inputs[0]

    def is_timed(self, inputs: Sequence[bool]) -> bool:
        """Whether the output is a sequence `[T, B, …]`, from whether the inputs are.

        Raises:
            UserError: the operation cannot read such inputs; the message names the node.
        """
        if len(set(inputs)) > 1:
            raise UserError(f"node {self.name}: one input is a sequence over time and the other is static")
        return inputs[0]

    def _must_read(self, inputs: Sequence[bool], *, timed: bool) -> None:
        if list(inputs) != [timed]:
            found, expected = ("a sequence", "a static value") if inputs[0] else ("a static value", "a sequence over time")
            raise UserError(f"node {self.name} ({self.kind}): {found} found at its input, {expected} expected")


class Moving(Operation):
    """An operation that computes nothing: each value that it makes is one that it reads, in another place, or 0."""

    @property
    def keeps_values(self) -> bool:
        return True


class Recurrent(Operation):
    """An operation that carries something from one time step to the next; it makes a sequence of a sequence."""

    sequential: ClassVar[bool] = True

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def is_timed(self, inputs: Sequence[bool]) -> bool:
        self._must_read(inputs, timed=True)
        return True


class Spiking(Recurrent):
    """A layer of neurons: reads a current and fires, 0 or 1 or `largest` times for every neuron and step.

    Equal currents make equal spikes in every runtime, because an update is the same few operations in each of them; so spikes
    are on the exact grid whatever the neuron is.
    """

    largest: int | None = 1
    """The most spikes that a neuron can fire in a step; None if there is no bound."""

    @property
    @abstractmethod
    def constants(self) -> NeuronParameters:
        """Decay, threshold and reset, as far as three numbers say them: for reports, not for computing."""

    def exact_range(self, inputs: Sequence[Range]) -> Range | None:  # noqa: ARG002
        return Range(0, 1)


def over_steps(step: Callable[..., tuple[Any, ...]], x: Array, states: int, dtype: Any = np.float32) -> Array:
    """`y[t], *state = step(x[t], *state)` along the first axis of `x`, from so many states of zeros."""
    made, state = np.empty_like(x), [np.zeros(x.shape[1:], dtype) for _ in range(states)]
    for t, x_t in enumerate(x):
        made[t], *state = step(x_t, *state)
    return made


def fires(h: Array, threshold: Any) -> Array:
    """`h > θ`, the spikes of a step."""
    return (h > threshold).astype(np.float32)


ADDED: Mapping[str, Any] = {"padding": (), "count_padding": True, "ceiling": None, "peak": None, "skip": 0, "each": None}
"""Fields that operations got after version 0.2, with the values that say what they said before."""


def content(node: Operation) -> dict[str, Any]:
    """The fields of a node by name, in order, but `ADDED` ones that say nothing: so files and digests of before hold on."""
    values = {one.name: getattr(node, one.name) for one in fields(node)}
    return {name: value for name, value in values.items() if name not in ADDED or not _says_nothing(name, value)}


def _says_nothing(name: str, value: Any) -> bool:
    return not isinstance(value, np.ndarray) and bool(value == ADDED[name])


def operations() -> dict[str, type[Operation]]:
    """Kind → class of every operation that has been imported, of this package and others."""
    return {_kind_of(one): one for one in _below(Operation)}


def _below(base: Any) -> Iterator[type[Operation]]:
    for one in base.__subclasses__():
        if one.__name__.endswith("Node"):
            yield one
        yield from _below(one)


def _kind_of(operation: type[Operation]) -> str:
    return operation.__name__.removesuffix("Node")


@dataclass(frozen=True)
class Call:
    """A torch layer's call, on the way to nodes.

    Attributes:
        name: for the node; the layer's own name in the model.
        inputs: the tensors that it reads, in order.
        shapes: theirs.
        timed: whether each is a sequence over time.
    """

    name: str
    inputs: tuple[str, ...]
    shapes: tuple[Shape, ...]
    timed: tuple[bool, ...]


Nodes: TypeAlias = Sequence[Operation]
"""What a call becomes, each reading those before it; none if the call passes its input on."""
LAYERS: dict[str, Callable[[Any, Call], Nodes]] = {}
REFUSED_LAYERS: dict[str, str] = {}
_Rule = Callable[[Any, Call], Nodes]


def traced(*layers: str) -> Callable[[_Rule], _Rule]:
    """Registers the rule `(layer, call) → nodes` of layers that become nodes as a whole, by their classes' full names.

    A class that derives from one of them goes by its rule too, as long as it overrides nothing of it; else it is followed
    through, function by function (`neurodeploy.graph.tracing`), as layers of plain torch are. Names, so that a graph can be
    read without torch, and so that rules for layers of another framework ask for none of its packages.
    """

    def register(rule: _Rule) -> _Rule:
        LAYERS.update(dict.fromkeys(layers, rule))
        return rule

    return register


def not_traced(*layers: str, reason: str) -> None:
    """Registers torch layers that have no form in a graph, with what to do instead."""
    REFUSED_LAYERS.update(dict.fromkeys(layers, reason))


EXACT = 1 << 24
"""float32 holds every integer up to here."""
_WEIGHT_BITS = 8


def exponent(weight: NDArray[np.float32]) -> int:
    """The largest k for which every `|w| 2ᵏ` rounds to a signed 8-bit integer."""
    largest = float(np.abs(weight).max())
    return floor(log2((2 ** (_WEIGHT_BITS - 1) - 0.5) / largest)) if largest else 0
