"""The shape of a synapse layer, as data: all that a model of memory traffic needs to know of it."""

from dataclasses import dataclass
from math import prod
from typing import Literal


@dataclass(frozen=True)
class Geometry:
    """A synapse layer at the input it was given.

    Attributes:
        kind: "conv", "transposed" or "linear".
        in_channels, out_channels: of the layer; features of a linear layer.
        kernel, stride, dilation: one entry per spatial axis; empty for a linear layer.
        groups: of a convolution.
        input, output: spatial sizes of one sample before and after the layer; empty for a linear layer.
        bias: whether the layer has one.
        leaky: whether the neurons that its currents drive leak; None if they drive none that is known.
    """

    kind: Literal["conv", "transposed", "linear"]
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    input: tuple[int, ...] = ()
    output: tuple[int, ...] = ()
    bias: bool = False
    leaky: bool | None = None

    @property
    def input_positions(self) -> int:
        """Values of one sample at the input, per step."""
        return self.in_channels * prod(self.input)

    @property
    def output_positions(self) -> int:
        """Values of one sample at the output, per step: target neurons."""
        return self.out_channels * prod(self.output)

    @property
    def weights(self) -> int:
        """Number of weights, without the bias."""
        return self.in_channels * self.out_channels * prod(self.kernel) // self.groups
