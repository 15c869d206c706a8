"""One part of a deployed network as a graph of its own: what a NIR file of it holds, and how it is run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurodeploy.graph import Graph, Part, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.io.errors import UserError


def graph_of(graph: Graph, part: Part) -> Graph:
    """A body: the tensor that enters it becomes the input, its last tensor the output.

    Raises:
        UserError: several tensors enter.
    """
    if len(part.inputs) != 1:
        raise UserError(f"{part.name}: {', '.join(part.inputs)} enter it, one tensor expected; export to ONNX instead")
    entry = ops.InputNode(name=part.inputs[0], shape=graph.shape(part.inputs[0]), timed=True)
    name = "output"
    while name in graph:
        name += "_"
    return Graph([entry, *(graph[member] for member in part.members), ops.OutputNode(name=name, inputs=(part.outputs[-1],))])


def torch_run(graph: Graph) -> Callable[[NDArray[np.float32], Sequence[str]], dict[str, NDArray[np.float32]]]:
    """`(samples, names) → tensors`, in torch: many times faster than the reference interpreter, and equal up to rounding."""
    module = GraphModule(graph)

    def run(samples: NDArray[np.float32], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = {}

        def keep(name: str) -> Callable[[Any, Any, torch.Tensor], None]:
            def hook(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
                found[name] = output.numpy()

            return hook

        inner = [name for name in names if name != graph.output.name]
        handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in inner]
        try:
            with torch.no_grad():
                answer = module(torch.from_numpy(np.ascontiguousarray(samples))).numpy()
        finally:
            for handle in handles:
                handle.remove()
        return found | ({graph.output.name: answer} if graph.output.name in names else {})

    return run
