"""What synapses deliver: many steps at once, in exact integer arithmetic on floating-point hardware.

Why floating point is exact here: a floating-point format with a p-bit significand holds every integer of magnitude up to 2^p.
Weights and messages are integers, so if Σ |w| · max |x| over the synapses of any neuron is at most 2^p, every product and
every partial sum, in whatever order and with or without fused multiply-add, is such an integer: nothing is ever rounded.
That weights are stored times 64, as neurons need their sums, changes exponents alone. p is 24 for float32 and 53 for float64.
The bound is computed from the weights for every run, and a larger one is refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.connection import Convolution, Matrix
from neurodeploy_exporters.lava.values import Integers, Shape

_FLOAT32_BITS, _FLOAT64_BITS = 24, 53
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
