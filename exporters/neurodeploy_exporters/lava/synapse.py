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
from neurodeploy_exporters.lava.layers import ConvLayer, DenseLayer, Integers

_FLOAT32_BITS, _FLOAT64_BITS = 24, 53
_DENSE_BITS = 25  # Lava keeps dense sums in 32 bits and shifts them by 6
_CHUNK = 1 << 24  # elements of one convolution's input, to bound the memory


def deliver(layer: ConvLayer | DenseLayer, messages: Any) -> Integers:
    """Sum of weight · message at every neuron and step; what is sent in step t arrives in t + 1 + delay.

    Convolution sums wrap to signed 24 bits, as Lava's `Conv` does; dense sums are plain 32-bit integers.

    Args:
        layer: the synapse.
        messages: integers `[T, B, *input shape]`; 0 or 1 for plain spikes.

    Returns:
        64-bit integers `[T, B, *output shape]`, the `a` of `cuba_step`.

    Raises:
        UserError: a sum could exceed what Lava's integers hold.
    """
    steps, batch = messages.shape[:2]
    peak = int(np.abs(messages).max()) if messages.size else 0
    sums = np.zeros((steps, batch, *layer.shape), np.int64)
    if peak and steps > 1:
        _RULES[type(layer)](layer, messages, peak, sums)
    return sums


def sum_bound(layer: ConvLayer | DenseLayer) -> int:
    """Largest possible |sum| for messages of 0 and 1."""
    return int(np.abs(layer.weight).reshape(len(layer.weight), -1).sum(1).max())


def _conv(layer: ConvLayer, messages: Any, peak: int, sums: Integers) -> None:
    steps, batch = messages.shape[:2]
    dtype = _float_type(sum_bound(layer) * peak)
    weight = torch.from_numpy(layer.weight).to(dtype)
    group = max(1, _CHUNK // max(1, messages[0].size))
    for start in range(0, steps - 1, group):
        stop = min(start + group, steps - 1)
        x = torch.from_numpy(messages[start:stop].reshape(-1, *messages.shape[2:])).to(dtype)
        y = functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        arrived = y.to(torch.int64).numpy().reshape(stop - start, batch, *layer.shape)
        sums[start + 1 : stop + 1] = arrived
    if sum_bound(layer) * peak >= 1 << 23:
        np.bitwise_and(sums + (1 << 23), (1 << 24) - 1, out=sums)
        sums -= 1 << 23


def _dense(layer: DenseLayer, messages: Any, peak: int, sums: Integers) -> None:
    bound = sum_bound(layer) * peak
    if bound >= 1 << _DENSE_BITS:
        raise UserError(
            f"dense layer of {layer.weight.shape[1]} inputs: sums up to {bound} are possible, beyond the {1 << _DENSE_BITS} "
            "that Lava's 32-bit integers hold; send smaller messages"
        )
    dtype, delays = _float_type(bound), layer.delays()
    x = torch.from_numpy(messages.reshape(-1, messages.shape[2])).to(dtype)
    for delay in np.unique(delays).tolist():
        weight = torch.from_numpy(np.where(delays == delay, layer.weight, 0)).to(dtype)
        arrived = (x @ weight.T).to(torch.int64).numpy().reshape(sums.shape)
        sums[delay + 1 :] += arrived[: max(0, len(sums) - delay - 1)]


_RULES: dict[type, Callable[[Any, Any, int, Integers], None]] = {ConvLayer: _conv, DenseLayer: _dense}


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
