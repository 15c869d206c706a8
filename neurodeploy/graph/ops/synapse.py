"""What convolutions and linear layers share: weights and biases, in torch and on the exact grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.ops.operation import Operation, Range, Weights, exponent
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

Own = TypeVar("Own", bound="Weighted")


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighted(Operation):
    """A sum of weighted inputs.

    Attributes:
        weight: `[C_out, …]`, but of a transposed convolution.
        bias: `[C_out]` or None.
    """

    weight: Weights
    bias: Weights | None = None

    def by_output(self) -> Weights:
        """The weights as `[C_out, …]`: of each output those that its sum has."""
        return self.weight

    def scaled(self: Own, factors: NDArray[np.float64]) -> Own:
        """With each output multiplied by a factor of its own, `[C_out]`, in float64."""
        weight = self.weight * factors.reshape(-1, *(1,) * (self.weight.ndim - 1))
        bias = None if self.bias is None else (self.bias * factors).astype(np.float32)
        return replace(self, weight=weight.astype(np.float32), bias=bias)

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        """In units of half a product's; in finer ones where a bias is on no multiple of that (see `on_sums_of`)."""
        (values,), k = inputs, exponent(self.weight)
        sums = np.abs(self.by_output().astype(np.float64)).sum(axis=tuple(range(1, self.weight.ndim)))
        sums *= values.largest * 2.0**-values.exponent
        unit = values.exponent + k + 1
        if self.bias is not None:
            sums += np.abs(self.bias.astype(np.float64))
            if values.exponent < 0 and (self.bias * 2.0**unit % 1).any():
                unit = k + 1
        return Range(unit, round(float(sums.max()) * 2.0**unit))

    def on_sums_of(self: Own, values: Range) -> Own:
        """With biases on the grid of the sums of such inputs, coarser than theirs where inputs are multiples of 2, 4, …

        Such a bias is off by at most a quarter of the smallest product, and float32 holds the sums of larger inputs.
        """
        if self.bias is None or values.exponent >= 0:
            return self
        unit = 2.0 ** -(values.exponent + exponent(self.weight) + 1)
        return replace(self, bias=(np.rint(self.bias.astype(np.float64) / unit) * unit).astype(np.float32))

    def rounded(self: Own) -> Own:
        """With weights that are multiples of 2⁻ᵏ, k being their `exponent`, and biases that are multiples of 2⁻ᵏ⁻¹.

        Raises:
            UserError: a weight is not finite.
        """
        if not np.isfinite(self.weight).all() or not (self.bias is None or np.isfinite(self.bias).all()):
            raise UserError(f"node {self.name}: weights that are not finite found; train the network again")
        step = 2.0 ** -exponent(self.weight)
        weight = np.rint(self.weight.astype(np.float64) / step) * step
        bias = None if self.bias is None else (np.rint(self.bias.astype(np.float64) / step * 2) * step / 2).astype(np.float32)
        return replace(self, weight=weight.astype(np.float32), bias=bias)

    def _in_torch(self, layer: Any) -> "nn.Module":
        """The layer, with copies of weights and bias that training does not touch."""
        import torch
        from torch import nn

        layer.weight = nn.Parameter(torch.from_numpy(self.weight.copy()), requires_grad=False)
        if self.bias is not None:
            layer.bias = nn.Parameter(torch.from_numpy(self.bias.copy()), requires_grad=False)
        made: nn.Module = layer
        return made


def array(tensor: "Tensor") -> Weights:
    """A torch tensor's values of now, in float32."""
    return tensor.detach().cpu().numpy().astype(np.float32)
