"""Where samples enter and become sequences, and where the answer leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, not_traced, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import encodings

INPUT_BITS = 8
"""Unless they are rounded to another grid, inputs of an exact network are multiples of 2⁻⁸ of size up to 1, as pixels are."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InputNode(Operation):
    """Where samples enter.

    Attributes:
        shape: of one sample (and one time step).
        timed: True for a sequence `[T, B, …]` such as events, False for a static sample `[B, …]`.
        peak: largest size of a value in the data, once it is normalised, where values are no multiples of 2⁻⁸ up to 1:
            `neurodeploy.graph.grid` then rounds them to a grid of this size. None where they are, or nothing is known of them.
    """

    arity: ClassVar[int] = 0
    sequential: ClassVar[bool] = True
    inputs: tuple[str, ...] = ()
    shape: Shape
    timed: bool = False
    peak: float | None = None

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:  # noqa: ARG002
        return self.shape

    def compute(self, *inputs: Array) -> Array:
        """The samples themselves, in float32."""
        return inputs[0].astype(np.float32)

    def layer(self) -> "nn.Module":
        from torch import nn

        return nn.Identity()

    def exact_range(self, inputs: Sequence[Range]) -> Range:  # noqa: ARG002
        return Range(INPUT_BITS, 1 << INPUT_BITS)

    def is_timed(self, inputs: Sequence[bool]) -> bool:  # noqa: ARG002
        return self.timed


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodeNode(Operation):
    """Direct coding: `y[t] = x` for t = 1 … T. Makes a static value a sequence.

    Attributes:
        steps: T that the network was trained with; an exported graph may be run with another.
    """

    sequential: ClassVar[bool] = True
    steps: int

    @property
    def keeps_values(self) -> bool:
        return True

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        return np.broadcast_to(inputs[0], (self.steps, *inputs[0].shape))

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics.encodings import DirectEncoding

        return DirectEncoding(self.steps)

    def is_timed(self, inputs: Sequence[bool]) -> bool:
        self._must_read(inputs, timed=False)
        return True


@dataclass(frozen=True, eq=False, kw_only=True)
class OutputNode(Operation):
    """What the network answers: one logit per class."""

    sequential: ClassVar[bool] = True

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        return inputs[0]

    def layer(self) -> "nn.Module":
        from torch import nn

        return nn.Identity()


@traced("neurodeploy.dynamics.encodings.DirectEncoding")
def _encode(layer: "encodings.DirectEncoding", call: Call) -> Nodes:
    return [EncodeNode(name=call.name, inputs=call.inputs, steps=layer.steps)]


@traced("neurodeploy.dynamics.encodings.StaticInput")
def _static(layer: "nn.Module", call: Call) -> Nodes:
    return _enters(layer, call, timed=False)


@traced("neurodeploy.dynamics.encodings.EventInput")
def _events(layer: "nn.Module", call: Call) -> Nodes:
    return _enters(layer, call, timed=True)


def _enters(layer: Any, call: Call, *, timed: bool) -> Nodes:
    if call.timed[0] is not timed:
        found = "event frames" if call.timed[0] else "a static sample"
        raise UserError(f"layer {call.name} ({type(layer).__name__}): {found} found at its input; check `timed`")
    return []


not_traced(
    "neurodeploy.dynamics.encodings.PoissonEncoding",
    "neurodeploy.dynamics.encodings.LatencyEncoding",
    "neurodeploy.dynamics.encodings.OwnEncoding",
    reason="a host encodes the samples: put an EventInput in its place and trace with timed=True",
)
