"""Half precision: every float tensor of a model in 16 bits, inputs, outputs and states too.

A value keeps 11 bits. What is between two operators may be rounded or not, as a runtime likes: on a CPU ONNX Runtime computes
in float32 and rounds what it stores. So spikes differ from the float network's and between runtimes: that is counted, never
exact.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.recurrence import DOMAIN

_LARGEST = float(np.finfo(np.float16).max)


def as_half(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Float32 numbers in 16 bits; others as they are.

    Raises:
        UserError: half precision does not hold a value; the message names the tensor.
    """
    if values.dtype != np.float32:
        return values
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= _LARGEST:
        raise UserError(f"tensor {name}: {largest:g} found, and half precision ends at {_LARGEST:g}; export in fp32")
    return values.astype(np.float16)


def half_parameters(name: str, parameters: NeuronParameters) -> dict[str, float]:
    """`decay` and `threshold` of a neuron in half precision.

    Raises:
        UserError: nothing is left of the threshold, or it is too large.
    """
    values = {"decay": parameters.decay, "threshold": parameters.threshold}
    made = {key: float(as_half(f"{name}.{key}", np.asarray(value, np.float32))) for key, value in values.items()}
    if made["threshold"] == 0:
        raise UserError(
            f"node {name}: threshold {parameters.threshold:g} found, which half precision rounds to 0; export in fp32"
        )
    return made


def halved(operators: Iterable[onnx.NodeProto], layer: str) -> list[onnx.NodeProto]:
    """Operators of a layer with their constants, bodies and casts in half precision.

    Raises:
        UserError: half precision does not hold a constant, or makes zero of it; the message names the layer.
    """
    made = []
    for node in operators:
        one = onnx.NodeProto()
        one.CopyFrom(node)
        for attribute in one.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _halve_body(attribute.g, layer)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        if node.op_type == "Constant" and (tensor := _half_constant(one, layer)) is not None:
            del one.attribute[:]
            one.attribute.append(helper.make_attribute("value", tensor))
        made.append(one)
    return made


def _half_constant(node: onnx.NodeProto, layer: str) -> onnx.TensorProto | None:
    (value,) = node.attribute
    if value.type not in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.TENSOR):
        return None
    numbers = np.asarray(np.float32(value.f) if value.type == onnx.AttributeProto.FLOAT else numpy_helper.to_array(value.t))
    if numbers.dtype != np.float32:
        return None
    half = as_half(node.output[0], numbers)
    if np.any((half == 0) & (numbers != 0)):
        raise UserError(f"node {layer}: computes with {numbers.min():g}, which half precision rounds to 0; export in fp32")
    return numpy_helper.from_array(half, "")


def _halve_body(body: onnx.GraphProto, layer: str) -> None:
    nodes = halved(body.node, layer)
    del body.node[:]
    body.node.extend(nodes)
    for value in (*body.input, *body.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16


def plain_neuron_function(reset: Reset, rank: int) -> onnx.FunctionProto:
    """`(current [T, B, …], v0 [B, …]) → (spikes [T, B, …], v [B, …])`: `dynamics.neurons.neuron_step`, operation by operation.

    With a comparison in place of the steep slopes of `recurrence.neuron_function`, which 16 bits do not hold. Attributes:
    `decay` and `threshold`.
    """
    inside = [
        helper.make_node("Mul", ["v_before", "decay"], ["kept"]),
        helper.make_node("Add", ["kept", "current_t"], ["h"]),
        helper.make_node("Greater", ["h", "threshold"], ["fires"]),
        helper.make_node("Cast", ["fires"], ["spikes_t"], to=TensorProto.FLOAT),
    ]
    match reset:
        case "hard":
            inside += [helper.make_node("Sub", ["one", "spikes_t"], ["silent"])]
            inside += [helper.make_node("Mul", ["h", "silent"], ["v_after"])]
        case "soft":
            inside += [helper.make_node("Mul", ["threshold", "spikes_t"], ["subtracted"])]
            inside += [helper.make_node("Sub", ["h", "subtracted"], ["v_after"])]
        case "none":
            inside += [helper.make_node("Identity", ["h"], ["v_after"])]
    dims = [f"axis{axis}" for axis in range(rank - 1)]
    before, after = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in names]
        for names in (("v_before", "current_t"), ("v_after", "spikes_t"))
    )
    body = helper.make_graph(inside, f"{reset}_step", before, after)
    constants = [helper.make_node("Constant", [], [name]) for name in ("decay", "threshold")]
    for node in constants:
        node.attribute.add(name="value_float", ref_attr_name=node.output[0], type=onnx.AttributeProto.FLOAT)
    if reset == "hard":
        constants.append(helper.make_node("Constant", [], ["one"], value_float=1.0))
    scan = helper.make_node("Scan", ["v0", "current"], ["v", "spikes"], body=body, num_scan_inputs=1, name="over_time")
    opsets, attributes = [helper.make_opsetid("", 18)], ["decay", "threshold"]
    name, text = f"LIF_{reset}_plain_r{rank}", plain_neuron_function.__doc__ or ""
    return helper.make_function(
        DOMAIN, name, ["current", "v0"], ["spikes", "v"], [*constants, scan], opsets, attributes=attributes, doc_string=text
    )
