"""Functions of torch that compute value by value, as instructions of an update (`neurodeploy.dynamics.updates`)."""

from collections.abc import Callable
from typing import Any, TypeAlias

from neurodeploy.dynamics.updates import Operand

Emit: TypeAlias = Callable[..., Operand]
"""`(operation, *operands) → where the result is`."""
Elementwise: TypeAlias = Callable[..., Operand]
"""`(emit, *arguments of the function) → where its result is`."""

ELEMENTWISE: dict[str, Elementwise] = {}
SAME = frozenset(
    ("clone", "detach", "alias", "data", "contiguous", "to", "float", "type_as", "requires_grad", "cpu", "bool", "int", "long")
)
"""Functions that answer the values that they read. Booleans are 0 and 1."""
ONE_READ = frozenset((*SAME, "expand_as", "view_as", "reshape_as"))
"""Functions of which the first argument alone is computed with."""
COMPARISONS = frozenset(("gt", "ge", "lt", "le", "eq", "ne", "heaviside", "logical_not", "logical_and", "logical_or"))
"""Functions that answer 0 or 1."""


def _one(*names: str) -> Callable[[Elementwise], Elementwise]:
    def register(rule: Elementwise) -> Elementwise:
        ELEMENTWISE.update(dict.fromkeys(names, rule))
        return rule

    return register


def _plain(name: str, operation: str) -> None:
    ELEMENTWISE[name] = lambda emit, *operands, **_: emit(operation, *operands)


for _name, _operation in {
    **{name: name for name in ("neg", "abs", "exp", "log", "sqrt", "tanh", "sigmoid", "floor", "ceil", "trunc", "sign")},
    **{name: name for name in ("maximum", "minimum", "gt", "ge", "lt", "le", "eq", "ne")},
    **{f"__{name}__": name for name in ("gt", "ge", "lt", "le", "eq", "ne", "neg", "abs")},
    **{"mul": "mul", "multiply": "mul", "negative": "neg", "absolute": "abs", "logical_and": "mul", "__and__": "mul"},
    **{"logical_or": "maximum", "__or__": "maximum", "bitwise_and": "mul", "bitwise_or": "maximum"},
    **{"greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le", "not_equal": "ne", "fix": "trunc"},
}.items():
    _plain(_name, _operation)


def _number(value: Any) -> Operand:
    return "number", float(value)


def _times(emit: Emit, operand: Operand, factor: Any) -> Operand:
    return operand if factor == 1 else emit("mul", operand, _number(factor))


@_one("add")
def _add(emit: Emit, a: Operand, b: Operand, *, alpha: Any = 1) -> Operand:
    return emit("add", a, _times(emit, b, alpha))


@_one("sub", "subtract")
def _sub(emit: Emit, a: Operand, b: Operand, *, alpha: Any = 1) -> Operand:
    return emit("sub", a, _times(emit, b, alpha))


@_one("rsub")
def _rsub(emit: Emit, a: Operand, b: Operand, alpha: Any = 1) -> Operand:
    return emit("sub", b, _times(emit, a, alpha))


@_one("div", "true_divide", "divide")
def _div(emit: Emit, a: Operand, b: Operand, *, rounding_mode: str | None = None) -> Operand:
    quotient = emit("div", a, b)
    return quotient if rounding_mode is None else emit({"floor": "floor", "trunc": "trunc"}[rounding_mode], quotient)


@_one("floor_divide", "__floordiv__")
def _floor_div(emit: Emit, a: Operand, b: Operand) -> Operand:
    return emit("floor", emit("div", a, b))


@_one("reciprocal")
def _reciprocal(emit: Emit, a: Operand, b: Operand | None = None) -> Operand:
    inverse = emit("div", _number(1), a)
    return inverse if b is None else emit("mul", inverse, b)


@_one("square")
def _square(emit: Emit, a: Operand) -> Operand:
    return emit("mul", a, a)


@_one("pow", "__pow__")
def _pow(emit: Emit, a: Operand, exponent: Operand) -> Operand:
    if exponent not in (("number", 2.0), ("number", 2)):
        raise ValueError("a power other than the square")
    return emit("mul", a, a)


@_one("round")
def _round(emit: Emit, a: Operand, *, decimals: int = 0) -> Operand:
    if decimals:
        raise ValueError("rounds to decimals")
    return emit("round", a)


@_one("relu")
def _relu(emit: Emit, a: Operand, inplace: bool = False) -> Operand:  # noqa: ARG001
    return emit("maximum", a, _number(0))


@_one("clamp", "clip", "hardtanh")
def _clamp(emit: Emit, a: Operand, min: Operand | None = None, max: Operand | None = None, **_: Any) -> Operand:
    low = a if min is None else emit("maximum", a, min)
    return low if max is None else emit("minimum", low, max)


@_one("clamp_min")
def _clamp_min(emit: Emit, a: Operand, min: Operand) -> Operand:
    return emit("maximum", a, min)


@_one("clamp_max")
def _clamp_max(emit: Emit, a: Operand, max: Operand) -> Operand:
    return emit("minimum", a, max)


@_one("logical_not", "__invert__", "bitwise_not")
def _not(emit: Emit, a: Operand) -> Operand:
    return emit("sub", _number(1), a)


@_one("heaviside")
def _heaviside(emit: Emit, a: Operand, values: Operand) -> Operand:
    above = emit("gt", a, _number(0))
    return emit("where", emit("eq", a, _number(0)), values, above)


@_one("where")
def _where(emit: Emit, condition: Operand, a: Operand, b: Operand) -> Operand:
    return emit("where", condition, a, b)


@_one("masked_fill", "__setitem__")
def _filled(emit: Emit, a: Operand, mask: Operand, value: Operand) -> Operand:
    return emit("where", mask, value, a)


@_one("addcmul")
def _addcmul(emit: Emit, a: Operand, b: Operand, c: Operand, *, value: Any = 1) -> Operand:
    return emit("add", a, emit("mul", _times(emit, b, value), c))


@_one("lerp")
def _lerp(emit: Emit, a: Operand, b: Operand, weight: Operand) -> Operand:
    place, number = weight
    if place != "number":
        raise ValueError("mixes two values by a share that is no number")
    difference = emit("sub", b, a)
    if abs(number) < 0.5:
        return emit("add", a, emit("mul", weight, difference))
    return emit("sub", b, emit("mul", difference, _number(1 - number)))


@_one("expand", "expand_as", "view_as", "reshape_as", *SAME)
def _same(emit: Emit, a: Operand, *_: Any, **__: Any) -> Operand:  # noqa: ARG001
    return a
