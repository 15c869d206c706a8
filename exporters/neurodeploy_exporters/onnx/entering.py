"""What is done to samples as they enter, in ONNX: local functions, so that a model shows one operator for each."""

from math import frexp

import onnx
from onnx import AttributeProto, helper

from neurodeploy_exporters.onnx.recurrence import DOMAIN

_OPSET = 18
_CONSTANTS = ("factor", "least", "largest", "step")


def quantize_function() -> onnx.FunctionProto:
    """`x → clip(round(factor x), least, largest) step`, with the attributes of `quantize_attributes`.

    Round takes halves to the even neighbour. The factors are powers of two, so no other operator rounds anything.
    """
    members = [_constant(name) for name in _CONSTANTS]
    members += [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["whole"]),
        helper.make_node("Clip", ["whole", "least", "largest"], ["clipped"]),
        helper.make_node("Mul", ["clipped", "step"], ["y"]),
    ]
    return _function("Quantize", ["x"], members, [*_CONSTANTS], quantize_function.__doc__)


def quantize_attributes(exponent: int, largest: int) -> dict[str, float]:
    """Of a `QuantizeNode`."""
    return {"factor": 2.0**exponent, "least": -float(largest), "largest": float(largest), "step": 2.0**-exponent}


def quantize_fields(attributes: dict[str, float]) -> dict[str, int]:
    """The node's fields again.

    Raises:
        ValueError: these are no attributes of such a node.
    """
    _, power = frexp(attributes["factor"])
    fields = {"exponent": power - 1, "largest": int(attributes["largest"])}
    if quantize_attributes(**fields) != attributes:
        raise ValueError("constants that do not belong together")
    return fields


def normalize_function() -> onnx.FunctionProto:
    """`(x, mean, std) → (x - mean) / std`."""
    members = [helper.make_node("Sub", ["x", "mean"], ["shifted"]), helper.make_node("Div", ["shifted", "std"], ["y"])]
    return _function("Normalize", ["x", "mean", "std"], members, [], normalize_function.__doc__)


def _function(
    name: str, inputs: list[str], members: list[onnx.NodeProto], attributes: list[str], text: str | None
) -> onnx.FunctionProto:
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_function(DOMAIN, name, inputs, ["y"], members, opset, attributes=attributes, doc_string=text or "")


def _constant(name: str) -> onnx.NodeProto:
    node = helper.make_node("Constant", [], [name])
    node.attribute.add(name="value_float", ref_attr_name=name, type=AttributeProto.FLOAT)
    return node
