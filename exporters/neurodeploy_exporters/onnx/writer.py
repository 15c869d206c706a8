"""Collects the operators of an ONNX model and moves tensors between their two forms: `[T, B, …]` and folded `[T·B, …]`."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from neurodeploy.graph import Graph
from neurodeploy.neurons import Reset


class Writer:
    """The model in the making.

    Synapses and pools work on folded tensors, neurons and the mean over time on timed ones. A tensor bears its node's name in
    the form in which its node makes it; the other form is made when first asked for.

    Args:
        graph: what is written, whole or in part.
        steps: name of the tensor `[1]` that holds T.
    """

    def __init__(self, graph: Graph, steps: str) -> None:
        self.graph = graph
        self.steps = steps
        self.operators: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.neuron_kinds: set[tuple[Reset, int]] = set()
        self._made_timed: set[str] = set()
        self._converted: set[str] = set()

    def operator(
        self, kind: str, inputs: list[str], output: str, *, extra: list[str] | None = None, domain: str = "", **attributes: Any
    ) -> str:
        """Add one operator, named like its output."""
        node = helper.make_node(kind, inputs, [output, *(extra or [])], name=output, domain=domain, **attributes)
        self.operators.append(node)
        return output

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Add weights."""
        self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def mark_timed(self, name: str) -> None:
        """Say that the tensor `name` has been made in the form `[T, B, …]`."""
        self._made_timed.add(name)

    def folded(self, name: str) -> str:
        """The tensor as `[T·B, …]` (or `[B, …]` if it is static)."""
        if name not in self._made_timed:
            return name
        return self._convert(name, f"{name}.folded", [-1, *self.graph.shape(name)])

    def timed(self, name: str) -> str:
        """The tensor as `[T, B, …]`."""
        if name in self._made_timed:
            return name
        return self._convert(name, f"{name}.timed", [0, -1, *self.graph.shape(name)])

    def _convert(self, name: str, other: str, shape: list[int]) -> str:
        if other in self._converted:
            return other
        self._converted.add(other)
        label = "x".join(map(str, shape[-len(self.graph.shape(name)) :]))
        if other.endswith(".folded"):
            target = self.constant(f"fold.{label}", np.array(shape, np.int64))
        else:
            target = f"unfold.{label}"
            if target not in self._converted:
                self._converted.add(target)
                rest = self.constant(f"{target}.sample", np.array(shape[1:], np.int64))
                self.operator("Concat", [self.steps, rest], target, axis=0)
        return self.operator("Reshape", [name, target], other)
