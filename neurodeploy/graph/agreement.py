"""Whether a graph computes what the module computes that it was made of: layer by layer and step by step, on samples.

The module runs on the samples and is recorded. Each node of the graph then computes, in torch, from what the module's tensors
were at its inputs; so its answer differs from the module's own by the rounding of one layer, and spikes, which follow from
equal currents, do not differ at all. What does differ is another computation, and the first layer where it shows is named.
"""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Node
from neurodeploy.graph.tracing import Entrance, entrance_of, follow
from neurodeploy.graph.tracing.traced_tensor import Inputs, each_of
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError

_BATCH = 16
_STEPS_AT_ONCE = 256
"""Of all samples of a batch: what every layer made in all of them is held at once."""
_SURELY_ROUNDING = 1e-6
_ROUNDING = 2e-5
"""Of a sum in float32, relative to the sum of the sizes of its terms: some hundred roundings, however they are ordered."""


def check_agreement(network: nn.Module, graph: Graph, samples: Inputs, entrance: Entrance | None = None) -> int:
    """Hold a graph against the module that it was traced from.

    Args:
        network: the user's module, left as it was.
        graph: traced from it, before batch norm is folded or a weight rounded.
        samples: `[B, …]`, or `[T, B, …]` if they are sequences; of each input.
        entrance: how the module takes them, if it is otherwise than `entrance_of` says.

    Returns:
        Number of values (neuron, step, sample) of spiking layers that were compared; all are equal.

    Raises:
        UserError: the module does not run on the samples, does something else for them than the graph says, or a layer's
            values differ: the first layer, step and neuron.
    """
    entrance = entrance_of(network, timed=graph.inputs[0].timed) if entrance is None else entrance
    given = each_of(samples)
    axis = 1 if entrance.timed else 0
    spikes, layers = 0, {node.name: node.layer().eval() for node in graph.nodes}
    steps = graph.steps or (len(given[0]) if entrance.timed else 1)
    size = max(1, min(_BATCH, _STEPS_AT_ONCE // steps))
    for start in range(0, given[0].shape[axis], size):
        batch = tuple(x.narrow(axis, start, min(size, x.shape[axis] - start)) for x in given)
        run = follow(network, batch, entrance, keep=True)
        other = differences(graph, run.graph)
        if other:
            raise UserError(
                f"{type(network).__name__}: does something else on samples {start} to {start + batch[0].shape[axis] - 1} than "
                f"when it was traced ({other[0]}): its forward depends on the samples' values, or on a state that stays"
            )
        spikes += _compare(graph, layers, run.values, start)
    return spikes


def _compare(graph: Graph, layers: dict[str, nn.Module], values: dict[str, Tensor], start: int) -> int:
    """Compare every layer's values on a batch; the number of spikes among them."""
    spikes, seen, sizes = 0, dict[str, Tensor](), dict[str, Tensor]()
    with torch.no_grad():
        for node in graph.nodes:
            if isinstance(node, ops.InputNode):
                seen[node.name] = values[node.name].cpu()
                sizes[node.name] = seen[node.name].abs()
            elif isinstance(node, ops.OutputNode):
                seen[node.name] = seen[node.inputs[0]]
                sizes[node.name] = sizes[node.inputs[0]]
            else:
                reads, known = ([of[source] for source in node.inputs] for of in (seen, sizes))
                made = _computed(node, layers[node.name], reads)
                if node.name in values:
                    own = values[node.name].cpu()
                    _check_layer(node, own, made, known, start)
                    seen[node.name], sizes[node.name] = own, own.abs()
                else:  # a call that became several nodes has no tensor for the first of them
                    seen[node.name], sizes[node.name] = made, _sizes(node, known)
                spikes += made.numel() if isinstance(node, ops.Spiking) else 0
    return spikes


def _computed(node: Node, layer: nn.Module, reads: list[Tensor]) -> Tensor:
    made: Tensor = layer(*reads)
    return made.unsqueeze(0) if isinstance(node, ops.TimeMeanNode) else made


def _check_layer(node: Node, expected: Tensor, found: Tensor, sizes: list[Tensor], start: int) -> None:
    if expected.shape != found.shape:
        raise UserError(f"layer {node.name}: {tuple(expected.shape)} found in the module, {tuple(found.shape)} in its graph")
    if isinstance(node, ops.Spiking):
        wrong, what = expected != found, "spikes"
    else:
        wrong, what = _far_apart(node, expected, found, sizes), "values"
    if wrong.any():
        where = tuple(torch.nonzero(wrong)[0].tolist())
        step, sample, *neuron = where
        place = f"layer {node.name}: step {step}, sample {start + sample}, neuron {tuple(neuron)}"
        both = f"{expected[where].item():g} in the module, {found[where].item():g} in its graph"
        raise UserError(
            f"{place}: {both}; {int(wrong.sum()):,} of {expected.numel():,} {what} differ: the layer computes something that "
            "the graph has not"
        )


def _far_apart(node: Node, expected: Tensor, found: Tensor, sizes: list[Tensor]) -> Tensor:
    """Where two answers differ by more than rounding."""
    apart = (expected - found).abs()
    if apart.max() <= _SURELY_ROUNDING * expected.abs().max():  # so that the sizes need not be summed
        return torch.zeros_like(expected, dtype=torch.bool)
    near = apart <= _ROUNDING * _sizes(node, sizes) + torch.finfo(torch.float32).tiny
    return ~(near | (torch.isnan(expected) & torch.isnan(found)))


def _sizes(node: Node, reads: list[Tensor]) -> Tensor:
    """The sum of the sizes of what a layer adds up for each of its values, from the sizes of what it reads."""
    if isinstance(node, ops.Spiking):  # compared without any tolerance
        return reads[0]
    constants: dict[str, Any] = {
        field.name: np.abs(value)
        for field in fields(node)
        if isinstance(value := getattr(node, field.name), np.ndarray) and value.dtype.kind == "f"
    }
    positive = replace(node, **constants) if constants else node
    return _computed(positive, positive.layer().eval(), reads).abs()
