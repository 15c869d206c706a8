"""What the synapses of a block deliver: whole sequences at once, in exact integer arithmetic on floating-point hardware.

Why floating point is exact here: a floating-point format with a p-bit significand holds every integer of magnitude up to 2^p.
Weights and messages are integers, so if Σ |w| · max |x| over the synapses of any neuron is at most 2^p, every product and
every partial sum, in whatever order and with or without fused multiply-add, is such an integer: nothing is ever rounded.
p is 24 for float32 and 53 for float64. The bound is computed from the weights for every run, and a larger one is refused.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.connection import Convolution, Matrix
from neurodeploy_exporters.lava.values import Integers, Shape

_FLOAT32_BITS, _FLOAT64_BITS = 24, 53
_DENSE_BITS = 25  # Lava keeps dense sums in 32 bits and shifts them by 6
_CHUNK = 1 << 24  # elements of one convolution's input, to bound the memory


def deliver(connection: Convolution | Matrix, messages: Any, shape: Shape, delay: int = 0) -> Integers:
    """Sum of weight · message at every neuron and step; what is sent in step t arrives in t + 1 + delay.

    Convolution sums wrap to signed 24 bits, as Lava's `Conv` does; dense sums are plain 32-bit integers.

    Args:
        connection: weights and geometry.
        messages: integers `[T, B, *source shape]`; 0 or 1 for plain spikes.
        shape: of the target's neurons.
        delay: of the whole synapse.

    Returns:
        64-bit integers `[T, B, *shape]`, the `a` of `cuba_step`.

    Raises:
        UserError: a sum could exceed what Lava's integers hold.
    """
    steps, batch = messages.shape[:2]
    peak = int(np.abs(messages).max()) if messages.size else 0
    sums = np.zeros((steps, batch, *shape), np.int64)
    if peak and steps > 1 + delay:
        _RULES[type(connection)](connection, messages[: steps - delay], peak, sums[delay:])
    return sums


def sum_bound(connection: Convolution | Matrix) -> int:
    """Largest possible |sum| for messages of 0 and 1."""
    return int(np.abs(connection.weight).reshape(len(connection.weight), -1).sum(1).max())


def _conv(connection: Convolution, messages: Any, peak: int, sums: Integers) -> None:
    steps, batch = messages.shape[:2]
    dtype = _float_type(sum_bound(connection) * peak)
    weight = torch.from_numpy(connection.weight).to(dtype)
    geometry = (connection.stride, connection.padding, connection.dilation, connection.groups)
    group = max(1, _CHUNK // max(1, messages[0].size))
    for start in range(0, steps - 1, group):
        stop = min(start + group, steps - 1)
        x = torch.from_numpy(messages[start:stop].reshape(-1, *messages.shape[2:])).to(dtype)
        y = functional.conv2d(x, weight, None, *geometry)
        arrived = y.to(torch.int64).numpy().reshape(stop - start, batch, *sums.shape[2:])
        sums[start + 1 : stop + 1] = arrived
    if sum_bound(connection) * peak >= 1 << 23:
        np.bitwise_and(sums + (1 << 23), (1 << 24) - 1, out=sums)
        sums -= 1 << 23


def _matrix(connection: Matrix, messages: Any, peak: int, sums: Integers) -> None:
    bound = sum_bound(connection) * peak
    if bound >= 1 << _DENSE_BITS:
        raise UserError(
            f"dense layer of {connection.weight.shape[1]} inputs: sums up to {bound} are possible, beyond the "
            f"{1 << _DENSE_BITS} that Lava's 32-bit integers hold; send smaller messages"
        )
    dtype, delays = _float_type(bound), np.asarray(connection.delay)
    x = torch.from_numpy(messages.reshape(messages.shape[0] * messages.shape[1], -1)).to(dtype)
    for delay in np.unique(delays).tolist():
        weight = torch.from_numpy(np.where(delays == delay, connection.weight, 0)).to(dtype)
        arrived = (x @ weight.T).to(torch.int64).numpy().reshape(sums.shape)
        sums[delay + 1 :] += arrived[: max(0, len(sums) - delay - 1)]


_RULES: dict[type, Callable[[Any, Any, int, Integers], None]] = {Convolution: _conv, Matrix: _matrix}


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


def recurrent(weight: Integers, spikes: Any) -> Integers:
    """Sums of a recurrent synapse `[N, N]` for the spikes `[B, N]` of the step before."""
    return spikes.astype(np.int64) @ weight.T
