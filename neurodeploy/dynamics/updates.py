"""A neuron's update as data: the float operations of one time step, in their order, as somebody's module computes them.

`neurodeploy.dynamics.neurons.neuron_step` is the update of the toolkit's own neurons. Whoever brings a neuron of their own, or
another framework's, brings its equation: which operations on which numbers, in which order. Order matters, because sums and
products are rounded: `v + (x − v) / τ` and `(1 − 1/τ) v + x / τ` differ in their last bit, and a potential at the threshold
fires in one and not in the other. So an `Update` keeps each operation, and whatever computes it computes the same spikes.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from math import isfinite
from typing import Any, Literal, TypeAlias

import numpy as np

from neurodeploy.io.errors import UserError

Place: TypeAlias = Literal["input", "state", "result", "number", "array"]
Operand: TypeAlias = tuple[Place, float]
"""Where an operand is: which input, state, earlier operation's result or array; or a number itself, one of float32's."""


@dataclass(frozen=True)
class Instruction:
    """One elementwise operation.

    Attributes:
        operation: a key of `OPERATIONS`. Comparisons answer 0 or 1.
        operands: what it reads.
    """

    operation: str
    operands: tuple[Operand, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operands", tuple(map(_as_float32, self.operands)))


def _as_float32(operand: Operand) -> Operand:
    """With the number that is computed with: so an update that went through a file is the one that was written."""
    place, value = operand
    return (place, float(np.float32(value))) if place == "number" else (place, int(value))


@dataclass(frozen=True)
class Cost:
    """Numbers of operations. Choices between two values are comparisons; `others` are exponentials, roundings and the like."""

    multiplications: int
    additions: int
    comparisons: int
    others: int

    def __str__(self) -> str:
        """Those that there are: "2 multiplications, 1 addition"."""
        counts = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name)}
        return ", ".join(f"{n} {name.removesuffix('s') if n == 1 else name}" for name, n in counts.items()) or "no operation"


_GROUPS: Mapping[str, str] = {
    **dict.fromkeys(("mul", "div"), "multiplications"),
    **dict.fromkeys(("add", "sub"), "additions"),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "where", "maximum", "minimum"), "comparisons"),
}


@dataclass(frozen=True)
class Update:
    """One time step of a layer of neurons, value by value.

    Attributes:
        inputs: number of currents that it reads.
        instructions: in order; each reads inputs, states, constants and results before it.
        initial: a number or an array for each state: its value before the first step.
        following: where the value of each state after the step is.
        output: where the layer's answer is.

    Raises:
        UserError: an operand is not there, or an operation unknown.
    """

    inputs: int
    instructions: tuple[Instruction, ...]
    initial: tuple[Operand, ...]
    following: tuple[Operand, ...]
    output: Operand

    def __post_init__(self) -> None:
        for name in ("initial", "following"):
            object.__setattr__(self, name, tuple(map(_as_float32, getattr(self, name))))
        object.__setattr__(self, "output", _as_float32(self.output))
        if len(self.initial) != len(self.following):
            raise UserError(f"update: {len(self.initial)} states begin and {len(self.following)} go on")
        for number, one in enumerate(self.instructions):
            if one.operation not in OPERATIONS:
                raise UserError(f"update: operation {one.operation!r} found, one of {', '.join(OPERATIONS)} expected")
            if len(one.operands) != OPERATIONS[one.operation].operands:
                raise UserError(f"update: {one.operation} with {len(one.operands)} operands found")
            for operand in one.operands:
                self._check(operand, number)
        for operand in (*self.following, self.output):
            self._check(operand, len(self.instructions))
        for operand in self.initial:
            self._check(operand, 0)
            if operand[0] not in ("number", "array"):
                raise UserError("update: a state begins with neither a number nor an array")

    def _check(self, operand: Operand, before: int) -> None:
        place, which = operand
        if place == "number" and not isfinite(which):
            raise UserError(f"update: the number {which} is read, a finite one expected")
        sizes = {"input": self.inputs, "state": len(self.initial), "result": before}
        if place in sizes and not 0 <= which < sizes[place]:
            raise UserError(f"update: {place} {which:g} is read, and there are {sizes[place]}")

    @property
    def arrays(self) -> int:
        """Number of arrays that it needs."""
        operands = (*self.initial, *self.following, self.output, *(o for one in self.instructions for o in one.operands))
        return 1 + max((int(which) for place, which in operands if place == "array"), default=-1)

    @property
    def is_exact(self) -> bool:
        """Whether every library computes the same bits: roots, exponentials and the like are rounded by each in its own way."""
        return not any(OPERATIONS[one.operation].approximate for one in self.instructions)

    @property
    def cost(self) -> "Cost":
        """The operations of one neuron in one step, without those on constants alone, which are computed once."""
        groups = [
            _GROUPS.get(one.operation, "others")
            for one, varies in zip(self.instructions, self.varying(), strict=True)
            if varies
        ]
        return Cost(*(groups.count(kind.name) for kind in fields(Cost)))

    def varying(self) -> tuple[bool, ...]:
        """Which results depend on inputs or states; the others are constants of the layer."""
        known: list[bool] = []
        for one in self.instructions:
            known.append(any(which in ("input", "state") or (which == "result" and known[int(n)]) for which, n in one.operands))
        return tuple(known)

    def binary(self, operand: Operand | None = None) -> bool:
        """Whether a value (None: its answer) is 0 or 1 whatever it reads: a comparison's, or the product or larger of such."""
        known: list[bool] = []
        for one in self.instructions:
            known.append(_is_binary(one, [_known_binary(read, known) for read in one.operands]))
        return _known_binary(operand or self.output, known)


class Program:
    """An update in the making: `step = Program()`, `h = step("add", ("state", 0), ("input", 0))`.

    A call adds an operation of operands, or of numbers, and answers where its result is.
    """

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []

    def __call__(self, operation: str, *operands: Operand | float) -> Operand:
        self.instructions.append(Instruction(operation, tuple(map(_operand, operands))))
        return "result", len(self.instructions) - 1

    def update(self, output: Operand, *states: tuple[Operand | float, Operand | float], inputs: int = 1) -> Update:
        """The update.

        Args:
            output: its answer.
            states: of each the value that it begins with, and where its value after the step is.
            inputs: number of currents.

        Raises:
            UserError: see `Update`.
        """
        initial, following = (tuple(_operand(pair[place]) for pair in states) for place in (0, 1))
        return Update(inputs, tuple(self.instructions), initial, following, output)


def _operand(value: Operand | float) -> Operand:
    return value if isinstance(value, tuple) else ("number", value)


def _known_binary(operand: Operand, results: Sequence[bool]) -> bool:
    place, which = operand
    return results[int(which)] if place == "result" else place == "number" and which in (0, 1)


def _is_binary(one: Instruction, operands: Sequence[bool]) -> bool:
    if one.operation in ("mul", "maximum", "minimum"):
        return all(operands)
    if one.operation == "where":
        return all(operands[1:])
    if one.operation == "sub":
        place, which = one.operands[0]
        return place == "number" and which == 1 and operands[1]
    return OPERATIONS[one.operation].compares


@dataclass(frozen=True)
class Operator:
    """What an operation is: how many operands it has, its meaning in numpy, and whether it answers 0 or 1.

    The last bits of an `approximate` one depend on the library that computes it.
    """

    operands: int
    numpy: Callable[..., Any]
    compares: bool = False
    approximate: bool = False


def _comparison(compare: Callable[[Any, Any], Any]) -> Operator:
    return Operator(2, lambda a, b: np.asarray(compare(a, b), np.float32), compares=True)


OPERATIONS: Mapping[str, Operator] = {
    "add": Operator(2, np.add),
    "sub": Operator(2, np.subtract),
    "mul": Operator(2, np.multiply),
    "div": Operator(2, np.divide),
    "neg": Operator(1, np.negative),
    "abs": Operator(1, np.abs),
    "exp": Operator(1, np.exp, approximate=True),
    "log": Operator(1, np.log, approximate=True),
    "sqrt": Operator(1, np.sqrt, approximate=True),  # torch's is off by a bit on CPUs
    "tanh": Operator(1, np.tanh, approximate=True),
    "sigmoid": Operator(1, lambda x: 1 / (1 + np.exp(-x)), approximate=True),
    "floor": Operator(1, np.floor),
    "ceil": Operator(1, np.ceil),
    "round": Operator(1, np.rint),
    "trunc": Operator(1, np.trunc),
    "sign": Operator(1, np.sign),
    "maximum": Operator(2, np.maximum),
    "minimum": Operator(2, np.minimum),
    "gt": _comparison(operator.gt),
    "ge": _comparison(operator.ge),
    "lt": _comparison(operator.lt),
    "le": _comparison(operator.le),
    "eq": _comparison(operator.eq),
    "ne": _comparison(operator.ne),
    "where": Operator(3, lambda condition, a, b: np.where(condition != 0, a, b)),
}


@cache
def _in_torch(operation: str) -> Callable[..., Any]:
    """The meaning of an operation in torch, whose operands are float tensors or numbers."""
    import torch

    compared = {
        "gt": operator.gt,
        "ge": operator.ge,
        "lt": operator.lt,
        "le": operator.le,
        "eq": operator.eq,
        "ne": operator.ne,
    }
    if operation in compared:
        return lambda a, b: compared[operation](a, b).to((a if isinstance(a, torch.Tensor) else b).dtype)
    signs = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
    if operation in signs:
        return signs[operation]

    def tensors(*values: Any) -> list[Any]:
        like = next(value for value in values if isinstance(value, torch.Tensor))
        return [torch.as_tensor(value, dtype=like.dtype, device=like.device) for value in values]

    def where(*values: Any) -> Any:
        condition, a, b = tensors(*values)
        return torch.where(condition != 0, a, b)

    if operation == "where":
        return where
    # a number over a tensor would be the number times the reciprocal, which is rounded twice
    function: Callable[..., Any] = torch.true_divide if operation == "div" else getattr(torch, operation)
    return lambda *values: function(*tensors(*values))


def update_step(
    update: Update, inputs: Sequence[Any], states: Sequence[Any], arrays: Sequence[Any]
) -> tuple[Any, tuple[Any, ...]]:
    """One time step.

    Args:
        update: what is computed.
        inputs: currents `[B, …]`, all torch or all numpy (float32).
        states: of the last step, or `initial_states`.
        arrays: that broadcast against the currents; of the same library.

    Returns:
        The answer, and the states after the step.
    """
    torched = not isinstance(inputs[0], np.ndarray)
    results: list[Any] = []
    values: dict[str, Sequence[Any]] = {"input": inputs, "state": states, "array": arrays, "result": results}

    def read(operand: Operand) -> Any:
        place, which = operand
        if place == "number":
            return which if torched else np.float32(which)
        return values[place][int(which)]

    like = inputs[0]
    with np.errstate(all="ignore"):  # a value that overflows does so everywhere alike
        for one in update.instructions:
            operands = [read(operand) for operand in one.operands]
            if not torched:
                results.append(OPERATIONS[one.operation].numpy(*operands))
                continue
            if not any(hasattr(operand, "dtype") for operand in operands):  # Python would compute in its own floats
                operands = [like.new_tensor(operand) for operand in operands]
            results.append(_in_torch(one.operation)(*operands))
    output, *following = (_whole(read(operand), like) for operand in (update.output, *update.following))
    return output, tuple(following)


def initial_states(update: Update, like: Any, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The states `[B, …]` before the first step, for currents of the form of `like`."""
    begin = (arrays[int(which)] if place == "array" else which for place, which in update.initial)
    return tuple(_whole(value, like) for value in begin)


def _whole(value: Any, like: Any) -> Any:
    """In the shape of the currents."""
    if isinstance(like, np.ndarray):
        return np.broadcast_to(np.asarray(value, np.float32), like.shape)
    return (value if hasattr(value, "expand") else like.new_tensor(value)).expand(like.shape)
