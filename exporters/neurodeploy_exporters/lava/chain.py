"""The spiking body of a graph as a chain of stages, each a synapse with its neurons: the only form a `.net` file can hold."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from neurodeploy.errors import UserError
from neurodeploy.graph import Graph, Part, nodes
from neurodeploy.graph.nodes import Shape
from neurodeploy_exporters.lava.folding import fold_into_conv, fold_into_linear


@dataclass(frozen=True, eq=False)
class Stage:
    """A synapse, with the pooling before it folded in, and its neurons.

    Attributes:
        synapse: Conv or Linear; reads the neurons of the stage before (or `flatten`), its weight may be float64.
        flatten: the Flatten node between them, or None.
        neuron: reads `synapse`.
        input_shape: of what the synapse (or the flatten) reads.
    """

    synapse: nodes.Conv | nodes.Linear
    flatten: nodes.Flatten | None
    neuron: nodes.Neuron
    input_shape: Shape


@dataclass
class _Pending:
    """What has been read since the last neurons."""

    source: str
    pools: list[nodes.AvgPool] = field(default_factory=list)
    flatten: nodes.Flatten | None = None
    synapse: nodes.Conv | nodes.Linear | None = None


def stages(graph: Graph, body: Part) -> tuple[Stage, ...]:
    """Cut the body into stages.

    Raises:
        UserError: naming the node that has no place in a chain of Loihi neurons, and what to do.
    """
    if len(body.inputs) != 1:
        raise UserError(f"body: reads {len(body.inputs)} tensors ({', '.join(body.inputs)}), a chain reads one")
    found: list[Stage] = []
    pending = _Pending(body.inputs[0])
    last = pending.source
    for name in body.members:
        node = graph[name]
        if type(node) not in _RULES:
            raise UserError(f"node {name}: {_REFUSALS.get(type(node), type(node).__name__ + ' has no form on Loihi')}")
        if node.inputs != (last,):
            raise UserError(
                f"node {name}: reads {', '.join(node.inputs)} rather than {last}; a .net file holds a plain chain, "
                "so remove the branch or export to ONNX"
            )
        stage = _RULES[type(node)](graph, pending, node)
        if stage is not None:
            found.append(stage)
            pending = _Pending(name)
        last = name
    return tuple(found)


def _read_pool(_: Graph, pending: _Pending, node: nodes.AvgPool) -> None:
    if pending.synapse is not None:
        raise UserError(
            f"node {node.name}: average pooling after the synapse {pending.synapse.name} and before its neurons; "
            "move it behind the neurons, where it can be folded into the next synapse"
        )
    pending.pools.append(node)


def _read_flatten(_: Graph, pending: _Pending, node: nodes.Flatten) -> None:
    if pending.flatten is not None or pending.synapse is not None:
        raise UserError(f"node {node.name}: a flatten right before a Linear synapse expected")
    pending.flatten = node


def _read_synapse(graph: Graph, pending: _Pending, node: nodes.Conv | nodes.Linear) -> None:
    if pending.synapse is not None:
        raise UserError(
            f"node {node.name}: a second synapse after {pending.synapse.name} without neurons between them; "
            "put a spiking layer between them"
        )
    shapes = [graph.shape(pool.inputs[0]) for pool in pending.pools]
    if isinstance(node, nodes.Conv):
        pending.synapse = replace(fold_into_conv(pending.pools, shapes, node), inputs=(pending.source,))
        return
    weight: Any = fold_into_linear(pending.pools, shapes, node.weight)
    flatten = pending.flatten
    if flatten is not None:
        pending.flatten = replace(flatten, inputs=(pending.source,))
    pending.synapse = replace(node, inputs=(pending.source if flatten is None else flatten.name,), weight=weight)


def _read_neuron(graph: Graph, pending: _Pending, node: nodes.Neuron) -> Stage:
    if pending.synapse is None:
        raise UserError(f"node {node.name}: neurons without a synapse before them; put a Conv or Linear layer before them")
    if node.parameters.reset != "hard":
        raise UserError(
            f'node {node.name}: reset "{node.parameters.reset}" found; Loihi\'s neurons reset to 0, so retrain the network '
            'with reset = "hard", or let it learn that: --finetune EPOCHS --finetune-reset'
        )
    return Stage(pending.synapse, pending.flatten, node, graph.shape(pending.source))


_RULES: dict[type, Callable[[Graph, _Pending, Any], Stage | None]] = {
    nodes.AvgPool: _read_pool,
    nodes.Flatten: _read_flatten,
    nodes.Conv: _read_synapse,
    nodes.Linear: _read_synapse,
    nodes.Neuron: _read_neuron,
}

_REFUSALS: dict[type, str] = {
    nodes.Add: "a residual connection has no form in a .net file; train a network without it, or export to ONNX",
    nodes.MaxPool: "max pooling cannot be done by spiking neurons; retrain with average pooling or a stride",
    nodes.Relu: "a ReLU among spiking layers cannot be done on Loihi; replace it by spiking neurons",
    nodes.BatchNorm: "batch norm has to be folded into the synapse before it first; put it right after a Conv or Linear layer",
    nodes.FixedPointNeuron: "the network is quantised already; quantise the floating-point network",
    nodes.Encode: "direct coding inside the body; encode before the first spiking layer",
    nodes.TimeMean: "a mean over time inside the body; leave it to the head",
}
