"""A neuron's update as a local ONNX function: its operations, one for one and in their order, in the body of a `Scan`.

What depends on constants alone is computed once, before the steps.
"""

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from pydantic import TypeAdapter

from neurodeploy.dynamics.updates import Operand, Update
from neurodeploy.graph import ops
from neurodeploy_exporters.onnx.recurrence import DOMAIN

_OPSET = 18
_DIGITS = 12
_ADAPTER = TypeAdapter(Update)
# operation → ONNX operator; those that take several are in `_Body`
_OPERATORS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "neg": "Neg",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",  # halves to the even neighbour
    "sign": "Sign",
    "maximum": "Max",
    "minimum": "Min",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
}


def cell_function(node: ops.Updated, rank: int) -> onnx.FunctionProto:
    """`(sequences [T, B, …] …, arrays …, recurrent weights, states [B, …] …) → (answers [T, B, …], states [B, …] …)`.

    Of a layer with recurrent weights `[N, N]`, and a bias if it has one, the answer of the last step is one more state. The
    update is in the function's description too, as JSON, from which a reader makes the function again to compare them.

    Args:
        node: a cell or a membrane.
        rank: of a sequence.
    """
    update, inputs = node.update, len(node.inputs)
    weights = ["weight"] * (node.recurrent is not None) + ["bias"] * (node.recurrent_bias is not None)
    states = [f"state{number}" for number in range(len(update.initial))] + ["answer"] * (node.recurrent is not None)
    sequences, arrays = [f"x{number}" for number in range(inputs)], [f"array{number}" for number in range(len(node.arrays))]
    outside, inside = _Members(update), _Members(update)
    for number, varies in enumerate(update.varying()):
        (inside if varies else outside).compute(number)
    before = _numbers(update)
    if node.recurrent is not None:
        inside.first(_returned(f"x{inputs}_t", weights, rank))
    after = [inside.leaving(operand, f"state{number}_after") for number, operand in enumerate(update.following)]
    made = inside.leaving(update.output, "made_t")
    if node.recurrent is not None:
        inside.members.append(helper.make_node("Identity", [made], ["answer_after"]))
        after.append("answer_after")
    body = helper.make_graph(
        inside.members,
        "step",
        [_value(f"{name}_before" if name in states else f"{name}_t", rank - 1) for name in (*states, *sequences)],
        [_value(name, rank - 1) for name in (*after, made)],
    )
    scan = helper.make_node(
        "Scan",
        [*(f"{state}_0" for state in states), *sequences],
        [*states, "made"],
        body=body,
        num_scan_inputs=inputs,
        name="over_time",
    )
    text = description(update)
    return helper.make_function(
        DOMAIN,
        _name(node, text, rank),
        [*sequences, *arrays, *weights, *(f"{state}_0" for state in states)],
        ["made", *states],
        [*before, *outside.members, scan],
        [helper.make_opsetid("", _OPSET)],
        doc_string=text,
    )


def description(update: Update) -> str:
    """The update as JSON."""
    return _ADAPTER.dump_json(update).decode()


def described(text: str) -> Update:
    """The update of a description.

    Raises:
        ValueError: it is none.
    """
    return _ADAPTER.validate_json(text)


def most_spikes(name: str) -> int | None:
    """The most spikes in a step, as the name of a cell's function tells it."""
    most = name.split("_")[1]
    return None if most == "any" else int(most)


def _name(node: ops.Updated, text: str, rank: int) -> str:
    """One function for all layers of one update, whatever their constants are."""
    flags = f"{len(node.arrays)} {node.recurrent is not None} {node.recurrent_bias is not None}"
    digest = sha256(f"{text} {flags}".encode()).hexdigest()[:_DIGITS]
    most = ["any" if node.largest is None else str(node.largest)] if isinstance(node, ops.CellNode) else []
    return "_".join([node.kind, *most, digest, f"r{rank}"])


def _value(name: str, rank: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"axis{axis}" for axis in range(rank)])


def _numbers(update: Update) -> list[onnx.NodeProto]:
    """The numbers that the update computes with."""
    operands = [*update.following, update.output, *(operand for one in update.instructions for operand in one.operands)]
    values = dict.fromkeys(_text(which) for place, which in operands if place == "number")
    constant: Callable[[str], Any] = lambda text: helper.make_tensor("", TensorProto.FLOAT, [], [float.fromhex(text)])  # noqa: E731
    return [helper.make_node("Constant", [], [f"number_{text}"], value=constant(text)) for text in values]


def _text(number: float) -> str:
    return float(number).hex()


def _returned(name: str, weights: list[str], rank: int) -> Iterator[onnx.NodeProto]:
    """What comes back through the recurrent weights, of the shape of the layer."""
    flat = "answer_before"
    if rank > 3:
        yield helper.make_node("Flatten", ["answer_before"], ["answer_flat"], axis=1)
        flat = "answer_flat"
    made = name if rank == 3 else "back_flat"
    yield helper.make_node("Gemm", [flat, *weights], [made], transB=1)
    if rank > 3:
        yield helper.make_node("Shape", ["answer_before"], ["answer_shape"])
        yield helper.make_node("Reshape", [made, "answer_shape"], [name])


class _Members:
    """The operators of a part of an update, outside or inside the steps."""

    def __init__(self, update: Update) -> None:
        self.update = update
        self.members: list[onnx.NodeProto] = []

    def first(self, members: Iterator[onnx.NodeProto]) -> None:
        """Add what comes before all others."""
        self.members[:0] = members

    def compute(self, number: int) -> None:
        """Add the operators of one instruction, which make `result<number>`."""
        one, result = self.update.instructions[number], f"result{number}"
        read = [_tensor(operand) for operand in one.operands]
        match one.operation:
            case "ne":
                self._add("Equal", read, f"{result}_equal")
                self._add("Not", [f"{result}_equal"], f"{result}_bool")
                self._add("Cast", [f"{result}_bool"], result, to=TensorProto.FLOAT)
            case "gt" | "ge" | "lt" | "le" | "eq":
                self._add(_OPERATORS[one.operation], read, f"{result}_bool")
                self._add("Cast", [f"{result}_bool"], result, to=TensorProto.FLOAT)
            case "where":
                self._add("Cast", read[:1], f"{result}_bool", to=TensorProto.BOOL)
                self._add("Where", [f"{result}_bool", *read[1:]], result)
            case "trunc":  # ONNX has no operator that rounds towards zero
                self._add("Abs", read, f"{result}_size")
                self._add("Floor", [f"{result}_size"], f"{result}_whole")
                self._add("Sign", read, f"{result}_sign")
                self._add("Mul", [f"{result}_whole", f"{result}_sign"], result)
            case operation:
                self._add(_OPERATORS[operation], read, result)

    def leaving(self, operand: Operand, name: str) -> str:
        """A value that leaves the step, of the shape of a current."""
        place, which = operand
        if place in ("input", "state") or (place == "result" and self.update.varying()[int(which)]):
            self._add("Identity", [_tensor(operand)], name)
        else:
            self._add("Shape", ["x0_t"], f"{name}_shape")
            self._add("Expand", [_tensor(operand), f"{name}_shape"], name)
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.members.append(helper.make_node(kind, inputs, [output], **attributes))


def _tensor(operand: Operand) -> str:
    place, which = operand
    if place == "number":
        return f"number_{_text(which)}"
    return {"input": "x{}_t", "state": "state{}_before", "result": "result{}", "array": "array{}"}[place].format(int(which))


def initial_number(operand: Operand) -> np.float32 | None:
    """The number that a state begins with; None if it is zero, or an array says it."""
    place, which = operand
    return np.float32(which) if place == "number" and which else None
