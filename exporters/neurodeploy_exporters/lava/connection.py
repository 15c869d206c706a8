"""Connections between neurons: weights and geometry, of the layers of a `.net` file and of the synapses of a circuit alike."""

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError

Integers: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]

MAX_DELAY = 62


def check_range(field: str, value: int | Integers, low: int, high: int, where: str = "") -> None:
    """Raises UserError, naming the field and the first wrong value, unless all are integers from `low` to `high`.

    `where` ends the message: " on Loihi" of what only a chip asks for.
    """
    values = np.asarray(value)
    if values.dtype.kind not in "iu":
        raise UserError(f"{field}: {values.dtype} found, integers expected")
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise UserError(f"{field}: {wrong.flat[0]} found, {low} to {high} expected{where}")


def check_shape(shape: Shape, axes: tuple[int, ...]) -> None:
    """Raises UserError unless `shape` has one of these numbers of axes, none of them empty."""
    if len(shape) not in axes or min(shape) < 1:
        expected = " or ".join({1: "(N,)", 3: "(C, H, W)"}[n] for n in axes)
        raise UserError(f"shape: {shape} found, {expected} expected")


_LARGEST = 1 << 16  # stride, padding or dilation


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution:
    """A convolutional connection (cross-correlation, zero-padded, as in torch).

    Attributes:
        weight: `[C_out, C_in / groups, kH, kW]`.
        stride, padding, dilation: `(y, x)`.
        groups: number of blocks of channels that do not see each other.

    Raises:
        UserError: a value is outside its range, or two contradict each other.
    """

    weight: Integers
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        if self.weight.ndim != 4 or 0 in self.weight.shape:
            raise UserError(f"weight: shape {self.weight.shape} found, (C_out, C_in / groups, kH, kW) expected")
        check_range("weight", self.weight, -(1 << 23), (1 << 23) - 1)
        for field, values, least in (("stride", self.stride, 1), ("padding", self.padding, 0), ("dilation", self.dilation, 1)):
            if len(values) != 2 or min(values) < least or max(values) > _LARGEST:
                raise UserError(f"{field}: {values} found, two numbers (y, x) from {least} to {_LARGEST} expected")
        if self.groups < 1 or len(self.weight) % self.groups:
            raise UserError(f"groups: {self.groups} found, a divisor of the {len(self.weight)} output channels expected")

    @property
    def geometry(self) -> dict[str, Any]:
        """Stride, padding, dilation and groups."""
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`.

        Raises:
            UserError: the input does not fit the weight.
        """
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise UserError(f"input of shape {shape} found, ({self.in_channels}, H, W) expected by the weight")
        sizes = zip(shape[1:], self.weight.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        return (len(self.weight), *((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sizes))


@dataclass(frozen=True, eq=False, kw_only=True)
class Matrix:
    """A full connection; its source is flattened in C order of `(C, H, W)`.

    Attributes:
        weight: `[N_out, N_in]`, −256 … 255.
        delay: further steps of each synapse, 0 … 62: `[N_out, N_in]` or one number; added to the delay of the whole synapse.

    Raises:
        UserError: a shape does not fit, or a value is outside its range.
    """

    weight: Integers
    delay: int | Integers = 0

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or 0 in self.weight.shape:
            raise UserError(f"weight: shape {self.weight.shape} found, (N_out, N_in) expected")
        check_range("weight", self.weight, -256, 255)
        check_range("delay", self.delay, 0, MAX_DELAY)
        if np.shape(self.delay) not in ((), self.weight.shape):
            raise UserError(f"delay: shape {np.shape(self.delay)} found, one number or {self.weight.shape} expected")

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`.

        Raises:
            UserError: the input does not fit the weight.
        """
        if prod(shape) != self.weight.shape[1]:
            raise UserError(f"input of shape {shape} found, {self.weight.shape[1]} values expected by the weight")
        return (len(self.weight),)
