"""Batch normalisation, as it is at inference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from neurodeploy.graph.ops.conv import ConvNode
from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, Weights, traced
from neurodeploy.graph.ops.synapse import array
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import scaling


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchNormNode(Operation):
    """`y = scale · x + shift` per channel (both `[C]`): the running statistics, and what was learned, in two numbers each."""

    scale: Weights
    shift: Weights

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        if inputs[0][0] != len(self.scale):
            raise UserError(f"node {self.name}: {inputs[0][0]} channels found, {len(self.scale)} expected")
        return inputs[0]

    def compute(self, *inputs: Array) -> Array:
        channels = (1, -1, *(1,) * (inputs[0].ndim - 2))
        return inputs[0] * self.scale.reshape(channels) + self.shift.reshape(channels)

    def layer(self) -> "nn.Module":
        import torch
        from torch import nn

        from neurodeploy.dynamics import layers

        # variance and eps add up to 1 exactly: torch 2.11 refuses an eps of 0
        layer = layers.BatchNormNd(len(self.scale), eps=2.0**-20)
        layer.running_var = torch.full((len(self.scale),), 1.0 - layer.eps)
        layer.weight = nn.Parameter(torch.from_numpy(self.scale.copy()), requires_grad=False)
        layer.bias = nn.Parameter(torch.from_numpy(self.shift.copy()), requires_grad=False)
        return layer

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        return self._weighted().exact_range(inputs)

    def rounded(self) -> "BatchNormNode":
        """With scales that are multiples of 2⁻ᵏ, and shifts of 2⁻ᵏ⁻¹, as those of `Weighted.rounded`.

        Raises:
            UserError: a scale or shift is not finite.
        """
        made = self._weighted().rounded()
        assert made.bias is not None
        return replace(self, scale=made.weight.reshape(-1), shift=made.bias)

    def on_sums_of(self, values: Range) -> "BatchNormNode":
        """See `Weighted.on_sums_of`."""
        made = self._weighted().on_sums_of(values)
        assert made.bias is not None
        return replace(self, shift=made.bias)

    def _weighted(self) -> ConvNode:
        """As a convolution of size 1 that keeps the channels apart, which adds up the same."""
        one, none = (1,), (0,)
        return ConvNode(
            name=self.name,
            inputs=self.inputs,
            weight=self.scale.reshape(-1, 1, 1),
            bias=self.shift,
            stride=one,
            padding=none,
            dilation=one,
            groups=len(self.scale),
        )


@traced(*(f"neurodeploy.dynamics.scaling.{kind}" for kind in ("Affine", "InThresholds", "OfThreshold")))
def _from_torch(layer: "scaling.Affine", call: Call) -> Nodes:
    from neurodeploy.dynamics.scaling import constants_of

    scale, shift = constants_of(layer, call.shapes[0][0])
    return [BatchNormNode(name=call.name, inputs=call.inputs, scale=array(scale), shift=array(shift))]
