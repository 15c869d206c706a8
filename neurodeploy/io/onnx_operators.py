"""Which operators of an ONNX file are run, and how many: a list of those that compute, and bounds for what calls others.

The file is protobuf that has been parsed and nothing else: no checker, inliner or runtime has seen it. A function that calls
another twice, which does the same, sixteen times over, is a kilobyte in a file and hours in a checker.

It is on the ground floor, though it knows one format: the ONNX target and the energy counts of foreign ONNX files both need it,
and neither package may import the other.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from neurodeploy.io.errors import UserError, one_line

MOST_OPERATORS = 1_000_000
"""In a file, those in the bodies of loops included."""
MOST_CALLED, DEEPEST_CALL = 20_000, 10
"""Operators that calls of functions become when they are written out, and how deep a function may be in others."""
MOST_STEPS = 1_000_000
"""Passes of a loop whose number is a constant of the file."""
_DEEPEST = 32
_STANDARD = ("", "ai.onnx")
_NAMED_BYTES = 80

_ELEMENTWISE = """Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish Hardmax Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mish Mod Mul Neg Not
    Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Sub Sum Swish
    Tan Tanh ThresholdedRelu Where Xor"""
_LAYERS = """AffineGrid Attention AveragePool BatchNormalization Col2Im Conv ConvInteger ConvTranspose DeformConv Einsum GRU
    Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample GroupNormalization InstanceNormalization LRN LSTM
    LayerNormalization LpNormalization LpPool MatMul MatMulInteger MaxPool MaxRoiPool MaxUnpool MeanVarianceNormalization
    QLinearConv QLinearMatMul RMSNormalization RNN RoiAlign RotaryEmbedding"""
_SHAPES = """ArgMax ArgMin CenterCropPad Compress Concat Constant ConstantOfShape CumSum DepthToSpace DequantizeLinear Det
    DynamicQuantizeLinear Expand EyeLike Flatten Gather GatherElements GatherND NonMaxSuppression NonZero OneHot Pad
    QuantizeLinear Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Reshape Resize ReverseSequence Scatter ScatterElements ScatterND Shape Size Slice SpaceToDepth Split
    Squeeze TensorScatter Tile TopK Transpose Trilu Unique Unsqueeze Upsample"""
_CONTROL = "If Loop Scan"
ALLOWED = frozenset(" ".join((_ELEMENTWISE, _LAYERS, _SHAPES, _CONTROL)).split())
"""Of ONNX's own domain. Not those that draw at random, decode images, or handle texts, sequences and optional values."""

_Function = tuple[str, str]


def check_operators(model: Any, origin: object) -> None:
    """Refuse a model with operators that are not run here, or with more of them than any network has.

    Args:
        model: an `onnx.ModelProto`.
        origin: what the error names.

    Raises:
        UserError: an operator is not on the list, functions call each other in a circle, or so much is written in a few bytes
            that reading it would not end.
    """
    functions = {(one.domain, one.name): one for one in model.functions}
    called = {key: _tallied(one.node, functions, origin) for key, one in functions.items()}
    sizes: dict[_Function, tuple[int, int]] = {}
    for key in called:
        _written_out(key, called, sizes, origin)
    own, calls = _tallied(model.graph.node, functions, origin)
    written = sum(count * sizes[key][0] for key, count in calls.items())
    if own > MOST_OPERATORS or written > MOST_CALLED:
        found = f"{own:,} operators, and {written:,} in calls of its functions when they are written out,"
        raise UserError(f"{origin}: {found} found, at most {MOST_OPERATORS:,} and {MOST_CALLED:,} expected")
    _check_loops(model.graph, origin)


def _tallied(nodes: Iterable[Any], functions: Mapping[_Function, Any], origin: object) -> tuple[int, dict[_Function, int]]:
    """Operators of a list, those in bodies included, and how often each function is called there."""
    own, calls = 0, dict[_Function, int]()
    for node in _all(nodes, origin):
        key = (node.domain, node.op_type)
        if key in functions:
            calls[key] = calls.get(key, 0) + 1
        elif node.domain not in _STANDARD or node.op_type not in ALLOWED:
            domain = f" of domain {_short(node.domain)}" if node.domain not in _STANDARD else ""
            raise UserError(
                f"{origin}: operator {_short(node.op_type)}{domain} found, which is not run here; the standard ones that "
                "compute with numbers are"
            )
        else:
            own += 1
    return own, calls


def _short(text: Any) -> str:
    return one_line(str(text))[:_NAMED_BYTES]


def _all(nodes: Iterable[Any], origin: object, depth: int = 0) -> Iterator[Any]:
    if depth > _DEEPEST:
        raise UserError(f"{origin}: bodies within bodies found, more than {_DEEPEST} deep; a network has few")
    for node in nodes:
        yield node
        for body in _bodies(node):
            yield from _all(body.node, origin, depth + 1)


def _bodies(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _written_out(
    key: _Function,
    called: Mapping[_Function, tuple[int, dict[_Function, int]]],
    sizes: dict[_Function, tuple[int, int]],
    origin: object,
) -> None:
    """Put into `sizes` how many operators a call becomes, and how deep its calls go, its own functions first; no recursion."""
    waiting: list[tuple[_Function, bool]] = [(key, False)]
    begun: set[_Function] = set()
    while waiting:
        one, done = waiting.pop()
        if one in sizes:
            continue
        own, calls = called[one]
        if done:
            begun.discard(one)
            depth = 1 + max((sizes[inner][1] for inner in calls), default=0)
            if depth > DEEPEST_CALL:
                raise UserError(
                    f"{origin}: functions that call others more than {DEEPEST_CALL} deep found; write them out first"
                )
            sizes[one] = min(own + sum(count * sizes[inner][0] for inner, count in calls.items()), 1 << 62), depth
            continue
        if one in begun:
            raise UserError(f"{origin}: function {_short(one[1])} calls itself; a network has no such function")
        begun.add(one)
        waiting.append((one, True))
        for inner in calls:
            if inner in begun:
                raise UserError(f"{origin}: function {_short(inner[1])} calls itself; a network has no such function")
            waiting.append((inner, False))


def _check_loops(graph: Any, origin: object) -> None:
    """Refuse a `Loop` whose number of passes is a constant beyond all time steps; any other is ended by the limit of time."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in _all(graph.node, origin):
        for attribute in node.attribute if node.op_type == "Constant" and node.output else ():
            if attribute.name == "value":
                constants[node.output[0]] = attribute.t
    for node in _all(graph.node, origin):
        tensor = constants.get(node.input[0]) if node.op_type == "Loop" and node.input else None
        if tensor is None or list(tensor.dims) not in ([], [1]):
            continue
        try:
            passes = int(numpy_helper.to_array(tensor).reshape(-1)[0])
        except Exception:
            continue
        if passes > MOST_STEPS:
            raise UserError(f"{origin}: a Loop of {passes:,} passes found, at most {MOST_STEPS:,} expected")
