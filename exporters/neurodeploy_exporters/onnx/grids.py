"""Tensors of 8-bit integers in an ONNX model: `value = scale · (integer − zero)`, with QuantizeLinear and DequantizeLinear."""

import numpy as np

from neurodeploy.graph import nodes
from neurodeploy_exporters.onnx.writer import Grid, Writer

_LARGEST_WEIGHT = 127
_LARGEST_BIAS = 1 << 30


def on_grid(writer: Writer, name: str, grid: Grid, result: str) -> str:
    """The tensor `name`, rounded to the grid and back again, as `result`; once for all that read it."""
    if writer.first(result):
        scale = writer.constant(f"{result}.scale", np.float32(grid.scale))
        zero = writer.constant(f"{result}.zero", np.uint8(grid.zero))
        writer.operator("QuantizeLinear", [name, scale, zero], f"{result}.int8")
        writer.operator("DequantizeLinear", [f"{result}.int8", scale, zero], result)
    return result


def synapse(writer: Writer, node: nodes.Conv | nodes.Linear, source: Grid | None) -> list[str]:
    """Weights and bias of a layer: signed 8-bit integers with one scale per output, and 32-bit ones where the input has a grid.

    Of a Linear the weights are `[N_in, N_out]`: ONNX Runtime takes its scales along the last axis.
    """
    weight = node.weight.astype(np.float64)
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = np.where(largest > 0, largest / _LARGEST_WEIGHT, 1.0)
    if node.bias is not None and source is not None:  # the bias counts in products of both scales, and must fit its integers
        scale = np.maximum(scale, np.abs(node.bias) / source.scale / _LARGEST_BIAS)
    scale = scale.astype(np.float32)
    integers = np.rint(weight / scale.reshape(-1, *(1,) * (weight.ndim - 1))).astype(np.int8)
    axis = 0 if isinstance(node, nodes.Conv) else 1
    made = [_integers(writer, f"{node.name}.weight", integers if axis == 0 else integers.T, scale, axis)]
    if node.bias is None:
        return made
    if source is None:
        return [*made, writer.constant(f"{node.name}.bias", node.bias)]
    unit = scale * np.float32(source.scale)
    whole = np.rint(node.bias.astype(np.float64) / unit).astype(np.int32)
    return [*made, _integers(writer, f"{node.name}.bias", whole, unit, 0)]


def _integers(writer: Writer, name: str, integers: np.ndarray, scale: np.ndarray, axis: int) -> str:
    inputs = [
        writer.constant(name, np.ascontiguousarray(integers)),
        writer.constant(f"{name}.scale", scale),
        writer.constant(f"{name}.zero", np.zeros(len(scale), integers.dtype)),
    ]
    return writer.operator("DequantizeLinear", inputs, f"{name}.value", axis=axis)
