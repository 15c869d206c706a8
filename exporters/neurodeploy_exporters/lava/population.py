"""CUBA-LIF neurons of a population, step by step on floating-point vectors: `neurodeploy.dynamics.neurons.cuba_step`, exactly.

Why floating point is exact here: a format with a p-bit significand holds every integer of magnitude up to 2^p, and such an
integer times a power of two. All values of the update are integers but one, the product v (4096 − decay) / 4096 before it is
rounded; with 4096 − decay = k 2^z it is v k times a power of two, and rounding it towards zero is exact in any format. So an
update is exact if |v| k and every sum stay within 2^p. The bounds are computed from the largest sum that the synapses can
deliver: the current is at most that sum times 64, over the share that it loses per step, and so is the potential. float32
(p = 24) is used where they allow it, float64 (p = 53) otherwise, which they always allow: the current never leaves 32 bits
here (a larger one is refused), and the decays have 12.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurodeploy.dynamics.neurons import CubaParameters
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.connection import Convolution, Integers, Matrix, Shape

Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

_WRAP = 1 << 23
_NEVER_WRAPS_TWICE = 1 << 18  # sums up to this, times 64, keep a wrapped current within 24 bits
_INT32_MAX = (1 << 31) - 1
_FLOAT32_BITS = 24


class NeuronConstants:
    """What all neurons of a population share, in the form in which `Neurons` computes.

    Attributes:
        dtype: in which the update is exact.
        current: whether the synaptic current is a state of its own; otherwise sums go to the potential directly.
    """

    def __init__(self, parameters: CubaParameters, *, largest_sum: int, keep_current: bool) -> None:
        """
        Args:
            parameters: numbers, or integer arrays that broadcast against the state.
            largest_sum: bound of |a|, in every step.
            keep_current: whether `Neurons.u` is wanted.
        """
        i_keep, v_keep = 4096 - np.asarray(parameters.i_decay), 4096 - np.asarray(parameters.v_decay)
        bias = 64 * np.asarray(parameters.bias, np.int64)
        threshold = 64 * np.asarray(parameters.threshold, np.int64)

        current = _accumulated(64 * largest_sum, i_keep)
        self.wraps = current >= _WRAP
        self.watched = largest_sum > _NEVER_WRAPS_TWICE
        if self.wraps:
            current = _INT32_MAX if self.watched else _WRAP
        added = current + int(np.abs(bias).max())
        potential = _accumulated(added, v_keep)
        self.clips = potential >= _WRAP
        potential = min(potential, _WRAP - 1)
        largest = max(
            64 * largest_sum + current,  # before it wraps
            potential + added,  # before it is clipped
            current * _significand(i_keep),
            potential * _significand(v_keep),
        )
        self.dtype: Any = np.float32 if largest <= 1 << _FLOAT32_BITS else np.float64

        self.current = keep_current or self.wraps or bool(i_keep.any())
        self.i_factor, self.v_factor = i_keep / 4096, v_keep / 4096
        self.bias = bias if bias.any() else None
        self.threshold = threshold.astype(self.dtype) if threshold.min() < potential else None


class NeuronState:
    """The state of some of a population's neurons, from u = v = 0.

    Attributes:
        u: synaptic current, or None where the constants need none.
        minus_v: membrane potential with the sign turned, so that one pass of `threshold_` resets what spiked.
    """

    def __init__(self, constants: NeuronConstants, shape: tuple[int, ...]) -> None:
        """
        Args:
            shape: of the state, `[B, …]`; the arrays among the constants broadcast against it.
        """
        self.constants = constants
        self.minus_v: Floats = np.zeros(shape, constants.dtype)
        self.u: Floats | None = np.zeros(shape, constants.dtype) if constants.current else None
        self._bias = None if constants.bias is None else self._spread(constants.bias)
        self._i_factor, self._v_factor = self._spread(constants.i_factor), self._spread(constants.v_factor)
        self._threshold = None if constants.threshold is None else self._spread(constants.threshold)
        self._minus_v = torch.from_numpy(self.minus_v)  # the same memory

    def reset(self) -> None:
        """u = v = 0."""
        self.minus_v.fill(0)
        if self.u is not None:
            self.u.fill(0)

    def step(self, sums: Iterable[Floats], spikes: NDArray[np.bool_]) -> None:
        """One time step.

        Args:
            sums: each 64 times what a synapse delivers in this step, of the shape of the state.
            spikes: of the same shape; is overwritten.

        Raises:
            UserError: the current leaves Lava's 32-bit integers.
        """
        c, v = self.constants, self.minus_v
        _decay(v, self._v_factor)
        for added in sums if self.u is None else (self._updated_current(self.u, sums),):
            np.subtract(v, added, out=v)
        if self._bias is not None:
            np.subtract(v, self._bias, out=v)
        if c.clips:
            np.clip(v, 1 - _WRAP, _WRAP - 1, out=v)
        if self._threshold is None:
            spikes.fill(False)
            return
        np.less(v, -self._threshold, out=spikes)
        if np.ndim(self._threshold):
            np.copyto(v, 0, where=spikes)
        else:
            # keeps what is larger, which for integers is what is not less than −threshold
            functional.threshold(self._minus_v, -float(self._threshold) - 1, 0.0, inplace=True)

    def _updated_current(self, u: Floats, sums: Iterable[Floats]) -> Floats:
        c = self.constants
        _decay(u, self._i_factor)
        for each in sums:
            np.add(u, each, out=u)
        if c.wraps:
            turns = (u > _WRAP).astype(u.dtype) - (u <= -_WRAP).astype(u.dtype)
            u -= 2 * _WRAP * turns
        if c.watched and np.abs(u).max() > _INT32_MAX:
            raise UserError("the current left Lava's 32 bits; use smaller weights or messages")
        return u

    def _spread(self, constant: Any) -> Any:
        """A constant as a number, or as an array that numpy's inner loops read in one go."""
        if constant.ndim == 0:
            return self.constants.dtype(constant)
        whole = self.minus_v.shape[max(0, self.minus_v.ndim - max(constant.ndim, 3)) :]
        return np.broadcast_to(constant, whole).astype(self.constants.dtype)


def _accumulated(added: int, keep: Any) -> int:
    """Bound of |x| if x keeps `keep` / 4096 of itself in every step and at most `added` is added; 2^53 for no bound."""
    lost = 4096 - int(keep.max())
    return -(-added * 4096 // lost) if lost else (1 << 53 if added else 0)


def _significand(keep: Any) -> int:
    """Largest of the numbers without the factors of two that they have in common."""
    common = int(np.bitwise_or.reduce(keep, axis=None))
    return int(keep.max()) // (common & -common) if common else 0


def _decay(x: Floats, factor: Any) -> None:
    if factor.ndim == 0 and factor in (0, 1):
        if factor == 0:
            x.fill(0)
        return
    np.multiply(x, factor, out=x)
    np.trunc(x, out=x)


_FLOAT64_BITS = 53
_DENSE_BITS = 25  # Lava keeps dense sums in 32 bits and shifts them by 6
_CONV_BITS = 23  # and wraps the sums of a convolution to signed 24 bits


@dataclass(frozen=True, eq=False)
class Delivery:
    """The synapses of one connection that have the same delay.

    Attributes:
        delay: what is sent in step t arrives in t + 1 + delay.
        largest: bound of |sum|.
        deliver: messages `[S, B, *source]`, any numbers → 64 times their sums at the target, `[S, B, *target]`, floating point;
            channels are the last axis, `(H, W, C)`, on both sides.
    """

    delay: int
    largest: int
    deliver: Callable[[NDArray[Any]], NDArray[Any]]


def deliveries(connection: Convolution | Matrix, source: Shape, peak: int, delay: int = 0) -> Iterator[Delivery]:
    """Prepare a connection. Sums of a convolution wrap to signed 24 bits, as Lava's `Conv` does; others are plain 32 bits.

    Args:
        connection: weights and geometry.
        source: shape `(C, H, W)` or `(N,)` of what it reads.
        peak: largest magnitude of a message; 1 for spikes.
        delay: of the whole synapse.

    Raises:
        UserError: a sum could exceed what Lava's integers hold.
    """
    return _RULES[type(connection)](connection, source, peak, delay)


def sum_bound(connection: Convolution | Matrix) -> int:
    """Largest possible |sum| for messages of 0 and 1."""
    return int(np.abs(connection.weight).reshape(len(connection.weight), -1).sum(1).max())


def _conv(connection: Convolution, _: Shape, peak: int, delay: int) -> Iterator[Delivery]:
    bound = sum_bound(connection) * peak
    dtype, wraps = _float_type(bound), bound >= 1 << _CONV_BITS
    if wraps and delay:
        raise UserError(
            f"convolution with a delay: sums up to {bound} are possible, where those with and without a delay wrap differently "
            f"in Lava; keep them below {1 << _CONV_BITS}"
        )
    weight = (64 * torch.from_numpy(connection.weight).to(dtype)).contiguous(memory_format=torch.channels_last)
    geometry = (connection.stride, connection.padding, connection.dilation, connection.groups)

    def deliver(messages: NDArray[Any]) -> NDArray[Any]:
        x = _floating(messages, dtype).flatten(0, 1).permute(0, 3, 1, 2)
        y = functional.conv2d(x, weight, None, *geometry).permute(0, 2, 3, 1).contiguous()
        if wraps:
            period = float(64 << _CONV_BITS + 1)
            y.sub_(y.add(period / 2).div_(period).floor_(), alpha=period)
        return y.unflatten(0, messages.shape[:2]).numpy()

    yield Delivery(delay, min(bound, 1 << _CONV_BITS), deliver)


def _matrix(connection: Matrix, source: Shape, peak: int, delay: int) -> Iterator[Delivery]:
    bound, delays = sum_bound(connection) * peak, np.asarray(connection.delay)
    if bound >= 1 << _DENSE_BITS:
        raise UserError(
            f"dense layer of {connection.weight.shape[1]} inputs: sums up to {bound} are possible, beyond the "
            f"{1 << _DENSE_BITS} that Lava's 32-bit integers hold; send smaller messages"
        )
    for own in np.unique(delays).tolist():
        yield Delivery(delay + own, *_product(np.where(delays == own, connection.weight, 0), source, peak))


def recurrent(weight: Integers) -> Delivery:
    """The same for a recurrent synapse `[N, N]`."""
    return Delivery(0, *_product(weight, (len(weight),), 1))


def _product(weight: Integers, source: Shape, peak: int) -> tuple[int, Callable[[NDArray[Any]], NDArray[Any]]]:
    bound = int(np.abs(weight).sum(1).max()) * peak
    dtype = _float_type(bound)
    if len(source) == 3:  # columns are in the order of (C, H, W)
        weight = weight.reshape(-1, *source).transpose(0, 2, 3, 1).reshape(weight.shape)
    transposed = (64 * torch.from_numpy(np.ascontiguousarray(weight)).to(dtype)).T

    def deliver(messages: NDArray[Any]) -> NDArray[Any]:
        return (_floating(messages, dtype).flatten(2) @ transposed).numpy()

    return bound, deliver


_RULES: dict[type, Callable[[Any, Shape, int, int], Iterator[Delivery]]] = {Convolution: _conv, Matrix: _matrix}


def _floating(messages: NDArray[Any], dtype: torch.dtype) -> Tensor:
    # numpy converts booleans six times faster than torch
    return torch.from_numpy(messages.astype(np.float32 if dtype == torch.float32 else np.float64, order="C"))


def _float_type(bound: int) -> torch.dtype:
    if bound <= 1 << _FLOAT32_BITS and not _reduced_precision():
        return torch.float32
    if bound <= 1 << _FLOAT64_BITS:
        return torch.float64
    raise UserError(f"synapse: sums up to {bound} are possible, more than can be computed exactly; send smaller messages")


def _reduced_precision() -> bool:
    """Whether the user lets torch compute float32 products in bfloat16 or TF32, which would break the proof above."""
    backends: Any = torch.backends
    scopes = (backends, backends.mkldnn, backends.mkldnn.matmul, backends.mkldnn.conv)
    return torch.get_float32_matmul_precision() != "highest" or any(
        scope.fp32_precision in ("bf16", "tf32") for scope in scopes
    )
