"""Which kernel a synapse gets: by the share of its inputs that are not 0, measured on samples."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import torch_run
from neurodeploy_exporters.c.file import KernelChoice

CROSSING = 0.8
"""Share of inputs that are not 0 below which the event kernel takes fewer instructions (docs/microcontrollers.md)."""
_SAMPLES = 16


def choices_of(graph: Graph, inputs: NDArray[np.float32], kernel: Literal["auto", "event", "dense"]) -> dict[str, KernelChoice]:
    """Synapse → kernel.

    Args:
        graph: on the grid.
        inputs: `[B, …]` or `[T, B, …]`.
        kernel: "auto", or the one that all get.
    """
    some = inputs[:, :_SAMPLES] if graph.input.timed else inputs[:_SAMPLES]
    synapses = [node for node in graph.nodes if isinstance(node, ops.Weighted)]
    sources = list(dict.fromkeys(node.inputs[0] for node in synapses))
    inner = [name for name in sources if not isinstance(graph[name], ops.InputNode)]
    made = torch_run(graph)(some, inner)
    rates = {name: float(np.count_nonzero(values) / values.size) for name, values in made.items()}
    rates |= {name: float(np.count_nonzero(some) / some.size) for name in sources if name not in inner}
    chosen: dict[str, KernelChoice] = {}
    for node in synapses:
        rate = rates[node.inputs[0]]
        cheaper: Literal["event", "dense"] = "event" if rate < CROSSING else "dense"
        chosen[node.name] = KernelChoice(cheaper if kernel == "auto" else kernel, rate)
    return chosen
