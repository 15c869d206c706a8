"""The layers of Lava's `.net` files and their CUBA-LIF neurons, integers only. Shapes are per sample, `(C, H, W)` or `(N,)`.

Source: lava-dl, `lava.lib.dl.netx.hdf5`.
"""

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError

Integers: TypeAlias = NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]

MAX_DELAY = 62
_INT16 = 1 << 15


@dataclass(frozen=True, eq=False)
class CubaNeuron:
    """CUBA-LIF neurons with hard reset; the equation is `neurodeploy.fixed_point.cuba_step`.

    Attributes:
        i_decay: 0 … 4096, share of the synaptic current lost per step in 1/4096; one number, or one per channel.
        v_decay: the same for the membrane potential.
        threshold: `vThMant`; a spike is fired when `v > 64 · threshold`.

    Raises:
        UserError: a value is outside its range.
    """

    i_decay: int | Integers
    v_decay: int | Integers
    threshold: int

    def __post_init__(self) -> None:
        for field, decay in (("iDecay", self.i_decay), ("vDecay", self.v_decay)):
            _within(field, decay, 0, 4096)
            if np.ndim(decay) > 1:
                raise UserError(f"{field}: shape {np.shape(decay)} found, one number or one per channel expected")
        _within("vThMant", self.threshold, 0, (1 << 24) - 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class InputLayer:
    """Where samples enter, with or without neurons.

    Attributes:
        shape: `(C, H, W)` or `(N,)`.
        neuron: neurons driven by a bias or a current; None where the entry only tells the shape.
        weight, bias: the affine map `weight · x + bias` that the host applies to make a bias from a sample; for information.
    """

    shape: Shape
    neuron: CubaNeuron | None = None
    weight: int = 64
    bias: int = 0

    def __post_init__(self) -> None:
        _check_shape(self.shape, (1, 3))
        if self.neuron is not None:
            _check_decays(self.neuron, self.shape[0])


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvLayer:
    """Convolution (cross-correlation, zero-padded, as in torch) and its neurons.

    Attributes:
        shape: `(C_out, H, W)` of the output.
        weight: `[C_out, C_in / groups, kH, kW]`.
        bias: `[C_out]`, or one per neuron `[C_out, H, W]`, or None; added at every step in units of the threshold.
        stride, padding, dilation: `(y, x)`.
        groups: number of blocks of channels that do not see each other.
    """

    shape: Shape
    weight: Integers
    bias: Integers | None = None
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    neuron: CubaNeuron

    def __post_init__(self) -> None:
        _check_shape(self.shape, (3,))
        if self.weight.ndim != 4 or 0 in self.weight.shape:
            raise UserError(f"weight: shape {self.weight.shape} found, (C_out, C_in / groups, kH, kW) expected")
        _within("weight", self.weight, -(1 << 23), (1 << 23) - 1)
        for field, values, least in (("stride", self.stride, 1), ("padding", self.padding, 0), ("dilation", self.dilation, 1)):
            if len(values) != 2 or min(values) < least or max(values) > 1 << 16:
                raise UserError(f"{field}: {values} found, two numbers (y, x) of at least {least} expected")
        if self.groups < 1 or len(self.weight) % self.groups:
            raise UserError(f"groups: {self.groups} found, a divisor of the {len(self.weight)} output channels expected")
        if self.shape[0] != len(self.weight):
            raise UserError(f"shape: {self.shape[0]} channels found, but the weight has {len(self.weight)} output channels")
        _check_bias(self.bias, ((self.shape[0],), self.shape))
        _check_decays(self.neuron, self.shape[0])

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise UserError(f"input of shape {shape} found, ({self.in_channels}, H, W) expected by the weight")
        sizes = zip(shape[1:], self.weight.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        return (self.shape[0], *((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in sizes))


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseLayer:
    """Fully connected synapse, its neurons, and (`dense_rec`) a recurrent synapse among them.

    Attributes:
        shape: `(N_out,)`.
        weight: `[N_out, N_in]`.
        bias: `[N_out]` or None; added at every step in units of the threshold.
        delay: extra steps, 0 … 62: one number, one per output `[N_out]`, one per input `[N_in]` (where `N_in` ≠ `N_out`), or
            one per synapse `[N_out, N_in]`. A spike arrives `delay + 1` steps after it was fired.
        weight_rec: `[N_out, N_out]` or None; the neurons' own spikes, one step later.
    """

    shape: Shape
    weight: Integers
    bias: Integers | None = None
    delay: int | Integers = 0
    weight_rec: Integers | None = None
    neuron: CubaNeuron

    def __post_init__(self) -> None:
        _check_shape(self.shape, (1,))
        outputs = self.shape[0]
        if self.weight.ndim != 2 or 0 in self.weight.shape or len(self.weight) != outputs:
            raise UserError(f"weight: shape {self.weight.shape} found, ({outputs}, N_in) expected")
        if self.weight_rec is not None and self.weight_rec.shape != (outputs, outputs):
            raise UserError(f"weight_rec: shape {self.weight_rec.shape} found, ({outputs}, {outputs}) expected")
        _check_dense_weights(self.weight, self.weight_rec)
        _check_bias(self.bias, (self.shape,))
        _check_decays(self.neuron, outputs)
        _within("delay", self.delay, 0, MAX_DELAY)
        if np.shape(self.delay) not in ((), (outputs,), (self.weight.shape[1],), self.weight.shape):
            raise UserError(
                f"delay: shape {np.shape(self.delay)} found, one number, ({outputs},), ({self.weight.shape[1]},) or "
                f"{self.weight.shape} expected"
            )
        if self.weight_rec is not None and np.any(self.delay):
            raise UserError("delay: found on a recurrent layer, where netx rescales the sums; remove it")

    def delays(self) -> Integers:
        """Delay of every synapse, `[N_out, N_in]`. A vector that fits both sides is taken per output, as netx does."""
        delay = np.asarray(self.delay, np.int64)
        per_output = delay.ndim == 1 and len(delay) == self.shape[0]
        return np.broadcast_to(delay[:, None] if per_output else delay, self.weight.shape)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        if shape != (self.weight.shape[1],):
            hint = "; put a flatten layer before it" if len(shape) == 3 else ""
            raise UserError(f"input of shape {shape} found, ({self.weight.shape[1]},) expected by the weight{hint}")
        return self.shape


@dataclass(frozen=True, eq=False)
class FlattenLayer:
    """`(C, H, W)` → `(C·H·W,)` in C order."""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the output for an input of `shape`."""
        return (prod(shape),)


Layer: TypeAlias = InputLayer | ConvLayer | DenseLayer | FlattenLayer
Spiking: TypeAlias = InputLayer | ConvLayer | DenseLayer


def _within(field: str, value: int | Integers, low: int, high: int) -> None:
    values = np.asarray(value)
    if values.dtype.kind not in "iu":
        raise UserError(f"{field}: {values.dtype} found, integers expected")
    wrong = values[(values < low) | (values > high)]
    if wrong.size:
        raise UserError(f"{field}: {wrong.flat[0]} found, {low} to {high} expected")


def _check_shape(shape: Shape, axes: tuple[int, ...]) -> None:
    if len(shape) not in axes or min(shape) < 1:
        expected = " or ".join({1: "(N,)", 3: "(C, H, W)"}[count] for count in axes)
        raise UserError(f"shape: {shape} found, {expected} expected")


def _check_bias(bias: Integers | None, shapes: tuple[Shape, ...]) -> None:
    if bias is None:
        return
    if bias.shape not in shapes:
        raise UserError(f"bias: shape {bias.shape} found, {' or '.join(map(str, shapes))} expected")
    _within("bias", bias, -_INT16, _INT16 - 1)


def _check_decays(neuron: CubaNeuron, channels: int) -> None:
    for field, decay in (("iDecay", neuron.i_decay), ("vDecay", neuron.v_decay)):
        if np.shape(decay) not in ((), (channels,)):
            raise UserError(f"{field}: shape {np.shape(decay)} found, one number or ({channels},) expected")


def _check_dense_weights(weight: Integers, weight_rec: Integers | None) -> None:
    """netx packs a dense matrix into 8 bits and a sign; outside these ranges it silently changes the weights."""
    every = weight.ravel() if weight_rec is None else np.concatenate([weight.ravel(), weight_rec.ravel()])
    if not every.any():
        raise UserError("weight: only zeros found, which netx cannot load; remove the layer")
    if every.min() >= 0:
        _within("weight (none negative)", every, 0, 255)
    elif every.max() < 0:
        _within("weight (all negative)", every, -255, -1)
    else:
        _within("weight", every, -256, 254)
