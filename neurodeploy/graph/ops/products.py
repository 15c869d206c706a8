"""Products of two signals: gates of residual connections, and the attention of spiking transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Range, Shape, traced
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiplyNode(Operation):
    """`y = a · b`, value by value; an axis of length 1 goes with every value of the other input's."""

    arity: ClassVar[int] = 2

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        a, b = inputs
        if len(a) != len(b) or any(n != m and 1 not in (n, m) for n, m in zip(a, b, strict=True)):
            raise UserError(f"node {self.name}: inputs of shapes {a} and {b} found, equal shapes expected")
        return tuple(max(n, m) for n, m in zip(a, b, strict=True))

    def compute(self, *inputs: Array) -> Array:
        product: Array = inputs[0] * inputs[1]
        return product

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import products

        return products.Multiply()

    def exact_range(self, inputs: Sequence[Range]) -> Range:
        a, b = inputs
        return Range(a.exponent + b.exponent, a.largest * b.largest)


@dataclass(frozen=True, eq=False, kw_only=True)
class MatMulNode(Operation):
    """`y = a @ b` over the last two axes, `[…, N, K] @ […, K, M] → […, N, M]`, with equal axes before them."""

    arity: ClassVar[int] = 2

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        a, b = inputs
        if len(a) < 2 or len(a) != len(b) or a[:-2] != b[:-2] or a[-1] != b[-2]:
            raise UserError(f"node {self.name}: matrices {a} and {b} found, […, N, K] and […, K, M] expected")
        return (*a[:-1], b[-1])

    def compute(self, *inputs: Array) -> Array:
        return np.matmul(*inputs)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics import products

        return products.MatMul()

    def exact_range(self, inputs: Sequence[Range]) -> Range:  # noqa: ARG002
        """Of sums of so many terms as there are neurons at most: which number that is the ranges do not tell."""
        raise UserError(f'node {self.name} (MatMul): has no exact form before a spiking layer; export with quantize="none"')


@traced("neurodeploy.dynamics.products.Multiply")
def _multiply(_: "nn.Module", call: Call) -> Nodes:
    return [MultiplyNode(name=call.name, inputs=call.inputs)]


@traced("neurodeploy.dynamics.products.MatMul")
def _matmul(_: "nn.Module", call: Call) -> Nodes:
    return [MatMulNode(name=call.name, inputs=call.inputs)]
