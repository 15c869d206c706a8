"""A graph as a torch module again: the deployed network, batch norm folded and weights quantised, for measuring in torch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Array
from neurodeploy.io.errors import UserError


class GraphModule(nn.Module):
    """Runs a graph with the toolkit's own layers, each under the name of its node.

    Args:
        graph: to run.
        batch_first: a timed input is given as `[B, T, …]`, as data sets hold it, rather than `[T, B, …]`.
        encoding: makes the sequence `[T, B, …]` of static samples, which are given then.

    Raises:
        UserError: a node has no torch layer, or a name that no torch layer can have.
    """

    def __init__(self, graph: Graph, *, batch_first: bool = False, encoding: nn.Module | None = None) -> None:
        super().__init__()
        self.graph, self.batch_first, self.host_encoding = graph, batch_first, encoding
        for node in graph.nodes:
            if not isinstance(node, ops.InputNode | ops.OutputNode):
                layer = node.layer()
                try:
                    place(self, node.name, layer)
                except KeyError:  # an attribute of torch's own modules, or nothing between two dots
                    raise UserError(f"node {node.name}: its name cannot be that of a torch layer; rename it") from None
        self.eval()

    @property
    def batch_axis(self) -> int:
        """Of the samples that `forward` takes; who counts operations need not find it out."""
        timed = self.host_encoding is None and self.graph.inputs[0].timed
        return int(timed and not self.batch_first)

    def forward(self, *samples: Tensor) -> Any:
        """`[B, *shape]` (for a timed input `[T, B, *shape]`, or `[B, T, *shape]` if `batch_first`) → logits `[B, K]`.

        A graph with several inputs takes a tensor for each, in their order; one with several answers gives a tuple of them.

        Raises:
            UserError: there are more or fewer tensors than inputs.
        """
        if len(samples) != len(self.graph.inputs):
            names = ", ".join(node.name for node in self.graph.inputs)
            raise UserError(f"{len(samples)} inputs found, {len(self.graph.inputs)} expected: {names}")
        if self.host_encoding is not None:
            samples = (self.host_encoding(*samples),)
        entering, answers = dict(zip((node.name for node in self.graph.inputs), samples, strict=True)), list[Tensor]()
        tensors: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            if isinstance(node, ops.InputNode):
                given = entering[node.name]
                sequence = given.transpose(0, 1) if self.batch_first else given
                tensors[node.name] = sequence if node.timed else given.unsqueeze(0)
            elif isinstance(node, ops.OutputNode):
                answer = tensors[node.inputs[0]]
                answers.append(answer.squeeze(0) if answer.ndim > 1 + len(self.graph.shape(node.name)) else answer)
            else:
                layer = self.get_submodule(node.name)
                made = layer(*(tensors[source] for source in node.inputs))
                # static values have a time axis of one step, as the input has, for the layers after them
                tensors[node.name] = made.unsqueeze(0) if isinstance(node, ops.TimeMeanNode) else made
        return answers[0] if len(answers) == 1 else tuple(answers)


def place(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Make a layer a submodule by its path; a name may be the beginning of another one's."""
    *path, last = name.split(".")
    parent = root
    for part in path:
        if part not in dict(parent.named_children()):
            parent.add_module(part, nn.Module())
        parent = parent.get_submodule(part)
    there = dict(parent.named_children()).get(last)
    for inner, child in there.named_children() if there is not None else ():
        layer.add_module(inner, child)
    parent.add_module(last, layer)


def torch_run(graph: Graph) -> Callable[[Array, Sequence[str]], dict[str, Array]]:
    """`(samples, names) → tensors`, in torch: many times faster than the reference interpreter, and equal up to rounding."""
    module = GraphModule(graph)

    def run(samples: Array, names: Sequence[str]) -> dict[str, Array]:
        made: dict[str, Array] = {}

        def keep(name: str, _module: Any, _inputs: Any, output: Tensor) -> None:
            made[name] = output.numpy()

        inner = [name for name in names if name != graph.output.name]
        handles = [module.get_submodule(name).register_forward_hook(partial(keep, name)) for name in inner]
        try:
            with torch.no_grad():
                answer = module(torch.from_numpy(np.ascontiguousarray(samples))).numpy()
        finally:
            for handle in handles:
                handle.remove()
        return made | ({graph.output.name: answer} if graph.output.name in names else {})

    return run
