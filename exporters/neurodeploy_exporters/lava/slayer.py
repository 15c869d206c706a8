"""Layers that SLAYER writes into `.net` files and Lava's netx does not read, as layers that both know.

Source: lava-dl, `lava.lib.dl.slayer.block.base` (AbstractPool, AbstractAverage) and `synapse.layer.Pool`.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.connection import Convolution, Integers, Shape, check_shape
from neurodeploy_exporters.lava.layers import AverageLayer, ConvLayer, DenseLayer, FlattenLayer, Layer, Neuron


def pooling(
    shape: Shape,
    kernel: Integers,
    *,
    before: Shape | None,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    neuron: Neuron,
) -> ConvLayer:
    """A pooling layer of SLAYER: neurons that sum windows of one channel, as the convolution of one group per channel.

    SLAYER adds zeros below and on the right where a window does not divide the image. It lays the rows of all channels under
    each other, so that windows which overlap in y or do not divide the rows run into the next channel; no convolution does.

    Args:
        shape: `(C, H, W)` of the output.
        kernel: `[kH, kW]`, the same for all channels.
        before: `(C, H, W)` of the input; None where it is unknown and no zeros are added.
        stride, padding, dilation: `(y, x)`.
        neuron: of the layer.

    Raises:
        UserError: the windows of a channel do not stay in it.
    """
    check_shape(shape, (3,))
    size = kernel.shape if before is None else before[1:]
    if len(size) != 2 or 0 in kernel.shape:
        raise UserError(f"weight of shape {kernel.shape} on {before} found, a kernel (kH, kW) on (C, H, W) expected")
    Convolution(weight=kernel[None, None], stride=stride, padding=padding, dilation=dilation)  # checks their ranges
    added = [whole % k for whole, k in zip(size, kernel.shape, strict=True)]
    rows, reach = size[0] + added[0], dilation[0] * (kernel.shape[0] - 1) + 1
    if shape[0] > 1 and (padding[0] or reach > stride[0] or (before is not None and rows % stride[0])):
        raise UserError(
            f"stride, padding and dilation: windows of {reach} rows in steps of {stride[0]} over {rows} rows, with "
            f"{padding[0]} added above and below, run into the next channel in SLAYER; windows that divide the rows expected"
        )
    taps = [zeros // step for zeros, step in zip(added, dilation, strict=True)]
    if any(zeros % step for zeros, step in zip(added, dilation, strict=True)):
        raise UserError(
            f"dilation: {dilation} found with {added} zeros added by SLAYER; windows that divide the image expected"
        )
    # zeros on one side alone: as many on both, and so many taps before the kernel's that are 0
    whole = np.zeros((kernel.shape[0] + taps[0], kernel.shape[1] + taps[1]), np.int64)
    whole[taps[0] :, taps[1] :] = kernel
    return ConvLayer(
        shape=shape,
        weight=np.broadcast_to(whole, (shape[0], 1, *whole.shape)).copy(),
        stride=stride,
        padding=(padding[0] + added[0], padding[1] + added[1]),
        dilation=dilation,
        groups=shape[0],
        neuron=neuron,
    )


def folded(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The layers with every average that a dense layer reads folded into its weights; one at the end stays.

    Raises:
        UserError: something else reads an average, or the weights cannot be divided; the message names the layer.
    """
    result = list(layers)
    for position, layer in enumerate(layers):
        if not isinstance(layer, AverageLayer):
            continue
        number = next((n for n in range(position + 1, len(layers)) if not isinstance(layers[n], FlattenLayer)), None)
        if number is None:
            continue
        before, reader = _neurons_before(layers, position), layers[number]
        if not isinstance(reader, DenseLayer) or before is None or before % layer.groups:
            raise UserError(
                f"/layer/{position}: an average before /layer/{number} found; only a dense layer can read one, behind neurons "
                "that its groups divide"
            )
        size = before // layer.groups
        if (reader.weight % size).any():
            odd = reader.weight[reader.weight % size != 0].flat[0]
            raise UserError(
                f"/layer/{number}/weight: {odd} found behind an average over {size} neurons, multiples of {size} expected: "
                "with the average folded in, others are no integers"
            )
        delay = reader.connection.delay
        spread: dict[str, Any] = {"weight": np.repeat(reader.weight // size, size, axis=1)}
        if np.ndim(delay):
            spread["delay"] = np.repeat(delay, size, axis=1)
        result[position], result[number] = FlattenLayer(), replace(reader, **spread)
    return tuple(result)


def _neurons_before(layers: Sequence[Layer], position: int) -> int | None:
    """How many neurons layer `position` reads."""
    shape = next(
        (layer.shape for layer in reversed(layers[:position]) if not isinstance(layer, FlattenLayer | AverageLayer)), None
    )
    return None if shape is None else prod(shape)
