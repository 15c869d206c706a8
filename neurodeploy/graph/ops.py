"""The nodes of a network: one frozen dataclass per operation, numpy weights, its equation in the docstring.

Shapes are per sample, without the leading `[T, B]`: `(C, H, W)`, `(C, L)` or `(N,)`. Convolutions work on one or two spatial
axes. Every node has one output, named like the node, and lists the nodes whose outputs it reads in `inputs`.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.io.errors import UserError

Shape: TypeAlias = tuple[int, ...]
Weights: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Operation:
    """What every node has.

    Attributes:
        name: unique in the graph; the name of the layer in the model that it comes from.
        inputs: names of the nodes read, in order.
    """

    arity: ClassVar[int] = 1
    name: str
    inputs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The operation's name in messages and files, such as "Conv"."""
        return type(self).__name__.removesuffix("Node")


@dataclass(frozen=True, eq=False, kw_only=True)
class InputNode(_Operation):
    """Where samples enter.

    Attributes:
        shape: of one sample (and one time step).
        timed: True for a sequence `[T, B, …]` such as events, False for a static sample `[B, …]`.
    """

    arity: ClassVar[int] = 0
    inputs: tuple[str, ...] = ()
    shape: Shape
    timed: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodeNode(_Operation):
    """Direct coding: `y[t] = x` for t = 1 … T. Makes a static value a sequence.

    Attributes:
        steps: T that the network was trained with; an exported graph may be run with another.
    """

    steps: int


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvNode(_Operation):
    """`y[o] = b[o] + Σ_c,k w[o, c, k] x[c, stride·i + dilation·k − padding]`, zero-padded cross-correlation as in torch.

    Attributes:
        weight: `[C_out, C_in / groups, *kernel]`.
        bias: `[C_out]` or None.
        stride, padding, dilation: one number per spatial axis.
        groups: number of blocks of channels that do not see each other.
    """

    weight: Weights
    bias: Weights | None = None
    stride: Shape
    padding: Shape
    dilation: Shape
    groups: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearNode(_Operation):
    """`y = W x + b`, with `weight` `[N_out, N_in]` and `bias` `[N_out]` or None."""

    weight: Weights
    bias: Weights | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchNormNode(_Operation):
    """Batch normalisation at inference, per channel: `y = scale · x + shift` (both `[C]`)."""

    scale: Weights
    shift: Weights


@dataclass(frozen=True, eq=False, kw_only=True)
class NeuronNode(_Operation):
    """A layer of IF or LIF neurons (`neurodeploy.dynamics.neurons.neuron_step`), starting from membrane potential 0."""

    parameters: NeuronParameters


@dataclass(frozen=True, eq=False, kw_only=True)
class LowPassNode(_Operation):
    """A synaptic current with a leak, `i[t] = α i[t−1] + x[t]` (`neurodeploy.dynamics.neurons.synapse_step`), starting from 0.

    Before a Neuron it makes a current-based (CUBA) one; with α = 1 it is an output that integrates without leak.

    Attributes:
        decay: α, 0 ≤ α ≤ 1.

    Raises:
        UserError: α is outside its range.
    """

    decay: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise UserError(f"node {self.name}: a decay of {self.decay} found, a number from 0 to 1 expected")


@dataclass(frozen=True, eq=False, kw_only=True)
class DelayNode(_Operation):
    """`y[t] = x[t − steps]`, and 0 in the first steps.

    Attributes:
        steps: at least 1.

    Raises:
        UserError: fewer steps than one.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"node {self.name}: a delay of {self.steps} steps found, at least 1 expected")


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedPointNeuronNode(_Operation):
    """A layer of a Loihi chip's CUBA-LIF neurons (`neurodeploy.dynamics.neurons.cuba_step`), starting from u = v = 0.

    Its input is the integer sum of the synapses and the bias, in units of the threshold.

    Attributes:
        v_decay: 0 … 4096, share of the membrane potential lost per step in 1/4096; λ = 1 − v_decay / 4096.
        threshold: `vThMant`, at most 2¹⁷ − 1.
        i_decay: the same for the synaptic current; 4096 is no synaptic memory, the plain LIF neuron.
    """

    v_decay: int
    threshold: int
    i_decay: int = 4096


@dataclass(frozen=True, eq=False, kw_only=True)
class ReluNode(_Operation):
    """`y = max(x, 0)`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AvgPoolNode(_Operation):
    """Mean over windows of size `kernel`, moved by `stride`, without padding."""

    kernel: Shape
    stride: Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPoolNode(_Operation):
    """Maximum over windows of size `kernel`, moved by `stride`, without padding."""

    kernel: Shape
    stride: Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class FlattenNode(_Operation):
    """`(C, H, W)` → `(C·H·W,)` in C order."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AddNode(_Operation):
    """`y = a + b`, two inputs of one shape."""

    arity: ClassVar[int] = 2


@dataclass(frozen=True, eq=False, kw_only=True)
class TimeMeanNode(_Operation):
    """`y = (1/T) Σ_t x[t]`. Makes a sequence a static value."""


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputNode(_Operation):
    """What the network answers: one logit per class."""


Node: TypeAlias = (
    InputNode
    | EncodeNode
    | ConvNode
    | LinearNode
    | BatchNormNode
    | NeuronNode
    | LowPassNode
    | DelayNode
    | FixedPointNeuronNode
    | ReluNode
    | AvgPoolNode
    | MaxPoolNode
    | FlattenNode
    | AddNode
    | TimeMeanNode
    | OutputNode
)
Spiking: TypeAlias = NeuronNode | FixedPointNeuronNode
Recurrent: TypeAlias = Spiking | LowPassNode | DelayNode
"""Nodes that carry something from one time step to the next."""

__all__ = [
    "AddNode",
    "AvgPoolNode",
    "BatchNormNode",
    "ConvNode",
    "DelayNode",
    "EncodeNode",
    "FixedPointNeuronNode",
    "FlattenNode",
    "InputNode",
    "LinearNode",
    "LowPassNode",
    "MaxPoolNode",
    "NeuronNode",
    "Node",
    "OutputNode",
    "Recurrent",
    "ReluNode",
    "Shape",
    "Spiking",
    "TimeMeanNode",
    "Weights",
]
