"""The reference interpreter: runs a graph in numpy, float32, by each operation's `compute`. Slow and plain on purpose."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Array as Array
from neurodeploy.io.errors import UserError


def run(graph: Graph, samples: Array | Mapping[str, Array], *, steps: int | None = None) -> dict[str, Array]:
    """Compute every tensor of the graph.

    Args:
        graph: the network.
        samples: `[B, *shape]`, or `[T, B, *shape]` for a timed input; of a graph with several inputs, by their names.
        steps: T for a static input; the one that the network was trained with if None.

    Returns:
        tensor name → float32 array, `[T, B, …]` if timed, else `[B, …]`.

    Raises:
        UserError: the samples do not have the shape that the graph expects.
    """
    given = samples if isinstance(samples, Mapping) else {graph.input.name: samples}
    for entry in graph.inputs:
        if entry.name not in given:
            raise UserError(f"{entry.name}: missing, an input of the graph")
        _check_shape(entry, given[entry.name], alone=len(graph.inputs) == 1)
    tensors: dict[str, Array] = {}
    for node in graph.nodes:
        asked = replace(node, steps=steps) if isinstance(node, ops.EncodeNode) and steps else node
        tensors[node.name] = computed(graph, asked, [tensors[source] for source in node.inputs] or [given[node.name]])
    return tensors


def computed(graph: Graph, node: ops.Node, inputs: Sequence[Array]) -> Array:
    """What a node of the graph, or one that takes its place, makes of its inputs, each `[T, B, …]` if timed, else `[B, …]`."""
    folded = not node.sequential and graph.timed(node.name)
    return _in_one_batch(node, inputs) if folded else node.compute(*inputs)


def _check_shape(entry: ops.InputNode, samples: Array, *, alone: bool) -> None:
    leading = 2 if entry.timed else 1
    if samples.ndim != leading + len(entry.shape) or samples.shape[leading:] != entry.shape:
        expected = ", ".join([*["T", "B"][2 - leading :], *map(str, entry.shape)])
        raise UserError(f"{'input' if alone else entry.name}: shape {samples.shape} found, [{expected}] expected")


def spikes(graph: Graph, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Of the tensors of `run`, those that spiking layers made: layer name → `[T, B, …]`."""
    return {node.name: tensors[node.name] for node in graph.nodes if isinstance(node, ops.Spiking)}


def _in_one_batch(node: ops.Node, inputs: Sequence[Array]) -> Array:
    """What does not look at time, of all steps as one batch `[T·B, …]`."""
    steps, batch = inputs[0].shape[:2]
    result = node.compute(*(x.reshape(steps * batch, *x.shape[2:]) for x in inputs))
    return result.reshape(steps, batch, *result.shape[1:])
