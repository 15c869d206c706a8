"""Local functions written out: a call becomes the operators of its function, and those the call again when a file is read.

Many readers of ONNX files know no local functions. So that a file without them still says what its operators are, its metadata
list the functions and the calls that there were. They are not believed: whoever reads the file writes every call out again, and
the operators must be the ones that are there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import onnx
from google.protobuf import json_format
from onnx import helper

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.half import halved
from neurodeploy_exporters.onnx.recurrence import DOMAIN

CALLS, FUNCTIONS = "calls", "functions"  # keys of a model's metadata
_WITHIN = "/"


@dataclass(frozen=True)
class FunctionCall:
    """One call of a local function.

    Attributes:
        function: its name.
        inputs, outputs: tensors; operators and inner tensors are called `<first output>/…`.
        attributes: constants.
        sizes: of the tensors in the body of a `Scan`, which the function itself calls `axis0`, `axis1` …
    """

    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, float]
    sizes: tuple[int | str, ...]

    def node(self) -> onnx.NodeProto:
        """The operator that calls."""
        attributes: Mapping[str, Any] = self.attributes
        return helper.make_node(self.function, self.inputs, self.outputs, self.outputs[0], domain=DOMAIN, **attributes)


def inlined(call: FunctionCall, function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    """The operators of a function, for one of its calls.

    Raises:
        ValueError: the function takes other inputs or gives other outputs.
    """
    if len(call.inputs) != len(function.input) or len(call.outputs) != len(function.output):
        raise ValueError(f"a call of {function.name} with other inputs or outputs than it has")
    names = dict(zip((*function.input, *function.output), (*call.inputs, *call.outputs), strict=True))
    return [_member(call, names, node) for node in function.node]


def inner_names(operators: Iterable[onnx.NodeProto], outer: Sequence[str]) -> list[str]:
    """Tensors that operators of one call make, those in bodies included, but for the call's own outputs."""
    found: list[str] = []
    for node in operators:
        found += [name for name in node.output if name not in outer]
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += [value.name for value in attribute.g.input]
                found += inner_names(attribute.g.node, ())
    return found


def unrolled(operators: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The operators for one time step: a `Scan` becomes its body, which reads the one element of each sequence."""
    made: list[onnx.NodeProto] = []
    for node in operators:
        made += _unrolled(node, dict(zip(_read_by(node), node.input, strict=True))) if node.op_type == "Scan" else [node]
    return made


def without_scans(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model for sequences of one step, `[1, B, …]`: the body of each `Scan` stands in its place, between two reshapes.

    The same operators in the same order, without what a loop costs. None if it has no `Scan`, or one of a form that is not
    written here.
    """
    bodies = [_body_of(node) for node in model.graph.node if node.op_type == "Scan"]
    if not bodies or any(node.op_type == "Scan" and not _is_plain(node) for node in model.graph.node):
        return None
    outer = {name for node in model.graph.node for name in node.output} | {one.name for one in model.graph.input}
    inner = [name for body in bodies for name in (*(one.name for one in body.input), *(o for n in body.node for o in n.output))]
    outer |= {one.name for one in model.graph.initializer} | {_FIRST_AXIS}
    if len(set(inner)) != len(inner) or not outer.isdisjoint(inner):
        return None  # a name that means two things
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    operators = [one for node in model.graph.node for one in (_of_one_step(node) if node.op_type == "Scan" else [node])]
    made.graph.node.extend(_read(operators, {value.name for value in model.graph.output}))
    made.graph.initializer.append(helper.make_tensor(_FIRST_AXIS, onnx.TensorProto.INT64, [1], [0]))
    return made


_FIRST_AXIS = "single_step/first_axis"


def _of_one_step(scan: onnx.NodeProto) -> list[onnx.NodeProto]:
    states = len(scan.input) - _sequences(scan)
    read = dict(zip(_read_by(scan), scan.input, strict=True))
    made, alone = list[onnx.NodeProto](), onnx.NodeProto()
    alone.CopyFrom(scan)
    for name, outer in list(read.items())[states:]:
        read[name] = f"{name}{_WITHIN}alone"
        made.append(helper.make_node("Squeeze", [outer, _FIRST_AXIS], [read[name]], read[name]))
    for index in range(states, len(scan.output)):
        alone.output[index] = f"{scan.output[index]}{_WITHIN}alone"
    made += _unrolled(alone, read)
    for outer, one in list(zip(scan.output, alone.output, strict=True))[states:]:
        made.append(helper.make_node("Unsqueeze", [one, _FIRST_AXIS], [outer], outer))
    return made


def _read(operators: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Those whose results are read in the end: of states after the last step there may be none."""
    kept: list[onnx.NodeProto] = []
    for node in reversed(operators):
        subgraphs = any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)
        if subgraphs or not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted.update(node.input, *(inner.input for inner in _inner(node)))
    return kept[::-1]


def _inner(node: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
    """Operators in the subgraphs of one, which may read what is around them."""
    for attribute in node.attribute:
        for inner in attribute.g.node if attribute.type == onnx.AttributeProto.GRAPH else ():
            yield inner
            yield from _inner(inner)


def _unrolled(scan: onnx.NodeProto, names: dict[str, str]) -> list[onnx.NodeProto]:
    """The body once; `names` are those around it of what it reads."""
    body, made, copies = _body_of(scan), list[onnx.NodeProto](), list[onnx.NodeProto]()
    for value, outer in zip(body.output, scan.output, strict=True):
        if value.name in names:  # what enters, or leaves twice
            copies.append(helper.make_node("Identity", [names[value.name]], [outer], outer))
        else:
            names[value.name] = outer
    for member in body.node:
        one = onnx.NodeProto()
        one.CopyFrom(member)
        one.input[:] = [names.get(name, name) for name in member.input]
        one.output[:] = [names.get(name, name) for name in member.output]
        made.append(one)
    return made + copies


def _body_of(scan: onnx.NodeProto) -> onnx.GraphProto:
    return next(attribute.g for attribute in scan.attribute if attribute.type == onnx.AttributeProto.GRAPH)


def _read_by(scan: onnx.NodeProto) -> list[str]:
    """Names in the body of what it is given."""
    return [value.name for value in _body_of(scan).input]


def _sequences(scan: onnx.NodeProto) -> int:
    return next(attribute.i for attribute in scan.attribute if attribute.name == "num_scan_inputs")


def _is_plain(scan: onnx.NodeProto) -> bool:
    """Whether it goes forward along the first axis, with nothing in its body but operators."""
    body = _body_of(scan)
    nested = any(attribute.type == onnx.AttributeProto.GRAPH for node in body.node for attribute in node.attribute)
    said = {attribute.name for attribute in scan.attribute}
    return said == {"body", "num_scan_inputs"} and not body.initializer and not nested and all(scan.output)


def _member(call: FunctionCall, names: Mapping[str, str], node: onnx.NodeProto) -> onnx.NodeProto:
    """An operator of a function, under the names of a call; `names` are those of the function's own inputs and outputs."""
    within: Any = lambda name: name and names.get(name, f"{call.outputs[0]}{_WITHIN}{name}")  # noqa: E731
    made = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
    made.input.extend(map(within, node.input))
    made.output.extend(map(within, node.output))
    made.name = f"{call.outputs[0]}{_WITHIN}{node.name}" if node.name else made.output[0]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            made.attribute.append(helper.make_attribute(attribute.name, call.attributes[attribute.ref_attr_name]))
            continue
        made.attribute.append(attribute)
        if attribute.type == onnx.AttributeProto.GRAPH:
            made.attribute[-1].g.CopyFrom(_body(call, names, attribute.g))
    return made


def _body(call: FunctionCall, names: Mapping[str, str], body: onnx.GraphProto) -> onnx.GraphProto:
    inner = {name: outer for name, outer in names.items() if name not in _made_in(body)}
    sizes = {f"axis{axis}": _dim(size) for axis, size in enumerate(call.sizes)}
    made = onnx.GraphProto(name=body.name)
    made.node.extend(_member(call, inner, node) for node in body.node)
    for values, renamed in ((body.input, made.input), (body.output, made.output)):
        for value in values:
            one = renamed.add()
            one.CopyFrom(value)
            one.name = inner.get(value.name, f"{call.outputs[0]}{_WITHIN}{value.name}")
            for dim in one.type.tensor_type.shape.dim:
                dim.CopyFrom(sizes.get(dim.dim_param, dim))
    for tensor in body.initializer:
        made.initializer.append(tensor)
        made.initializer[-1].name = f"{call.outputs[0]}{_WITHIN}{tensor.name}"
    return made


def _made_in(body: onnx.GraphProto) -> set[str]:
    """Names that mean something else in a body than around it."""
    constants = {tensor.name for tensor in body.initializer}
    return constants | {value.name for value in body.input} | {name for node in body.node for name in node.output}


def _dim(size: int | str) -> onnx.TensorShapeProto.Dimension:
    made = onnx.TensorShapeProto.Dimension
    return made(dim_param=size) if isinstance(size, str) else made(dim_value=size)


def described(functions: Mapping[str, onnx.FunctionProto], calls: Sequence[FunctionCall]) -> dict[str, str]:
    """The metadata of a model whose calls were written out; none if there were none."""
    if not calls:
        return {}
    bodies = {name: json_format.MessageToDict(functions[name]) for name in sorted(functions)}
    texts = {FUNCTIONS: bodies, CALLS: [asdict(call) for call in calls]}
    return {key: json.dumps(value, separators=(",", ":")) for key, value in texts.items()}


def with_calls(
    operators: Sequence[onnx.NodeProto], metadata: Mapping[str, str], *, half: bool = False
) -> tuple[list[onnx.NodeProto], dict[str, onnx.FunctionProto]]:
    """The operators with the calls of the metadata in place of what these were written out to, and the functions by name.

    Args:
        operators: of a model.
        metadata: of the model.
        half: the model is in half precision, its functions are not.

    Raises:
        ValueError: the metadata are of another form, or the operators are not those of a call that they list.
    """
    functions, calls = _functions(metadata), _calls(metadata)
    first = {op.output[0]: number for number, op in enumerate(operators) if op.output}
    replaced: dict[int, tuple[int, onnx.NodeProto]] = {}
    for call in calls:
        if call.function not in functions:
            raise ValueError(f"layer {call.outputs[0]}: a call of {call.function}, which is no function of the model")
        expected = _expected(call, functions[call.function], half=half)
        start = first.get(expected[0].output[0], -1) if expected else -1
        if start < 0 or list(operators[start : start + len(expected)]) != expected:
            raise ValueError(f"layer {call.outputs[0]}: its operators are not those of the function {call.function}")
        replaced[start] = len(expected), call.node()
    made, number = list[onnx.NodeProto](), 0
    while number < len(operators):
        size, op = replaced.get(number, (1, operators[number]))
        made.append(op)
        number += size
    return made, functions


def _expected(call: FunctionCall, function: onnx.FunctionProto, *, half: bool) -> list[onnx.NodeProto]:
    """What a call of a file is written out to; nothing if it cannot be."""
    try:
        made = inlined(call, function)
        return halved(made, call.outputs[0]) if half else made
    except (
        KeyError,
        ValueError,
        TypeError,
        UserError,
    ):  # attributes that the function does not find, sizes that protobuf does not take
        return []


def _functions(metadata: Mapping[str, str]) -> dict[str, onnx.FunctionProto]:
    try:
        bodies = json.loads(metadata.get(FUNCTIONS, "{}"))
        return {str(name): json_format.ParseDict(body, onnx.FunctionProto()) for name, body in bodies.items()}
    except (ValueError, RecursionError, AttributeError, TypeError, json_format.Error):
        raise ValueError(f"metadata {FUNCTIONS}: a JSON object of ONNX functions expected") from None


def _calls(metadata: Mapping[str, str]) -> list[FunctionCall]:
    try:
        return [_call(**fields) for fields in json.loads(metadata.get(CALLS, "[]"))]
    except (ValueError, RecursionError, TypeError, AttributeError):
        raise ValueError(f"metadata {CALLS}: a JSON list of calls of functions expected") from None


def _call(
    function: str, inputs: list[str], outputs: list[str], attributes: dict[str, float], sizes: list[int | str]
) -> FunctionCall:
    texts = (function, *inputs, *outputs, *attributes)
    numbers = (*attributes.values(), *(size for size in sizes if not isinstance(size, str)))
    if not outputs or not all(isinstance(text, str) for text in texts):
        raise TypeError
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise TypeError
    return FunctionCall(
        function, tuple(inputs), tuple(outputs), {key: float(value) for key, value in attributes.items()}, tuple(sizes)
    )
