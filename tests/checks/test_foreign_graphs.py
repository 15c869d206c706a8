"""Networks of other frameworks as graphs, without the frameworks: their recorded spikes, in numpy, torch and ONNX Runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch

from checks.foreign.recorded import Recorded, read
from neurodeploy.graph import Graph, interpreter
from neurodeploy.graph.module import torch_run
from neurodeploy.graph.stored import StoredNode, restored

RECORDED = sorted((Path(__file__).resolve().parents[1] / "files" / "foreign").glob("*.npz"))
HELD = [path for path in RECORDED if read(path).nodes]


def graph_of(recorded: Recorded) -> Graph:
    return restored(tuple(StoredNode.model_validate(node) for node in recorded.nodes), recorded.arrays)


def inputs_of(recorded: Recorded, graph: Graph) -> np.ndarray:
    given = recorded.inputs.astype(np.float32)
    leading = 2 if graph.input.timed else 1
    return given if given.ndim == leading + len(graph.input.shape) else np.repeat(given[None], recorded.steps, 0)


def compare(recorded: Recorded, graph: Graph, found: dict[str, np.ndarray]) -> None:
    layers = list(recorded.spikes) if set(recorded.spikes) <= set(graph.spiking) else list(graph.spiking)
    assert len(layers) == len(recorded.spikes)
    for layer, expected in zip(layers, recorded.spikes.values(), strict=True):
        assert np.array_equal(found[layer].reshape(expected.shape), expected), layer


def test_most_networks_have_a_graph():
    assert len(HELD) >= 80


@pytest.mark.parametrize("path", HELD, ids=lambda path: path.stem)
def test_the_graph_fires_what_the_framework_fired(path):
    recorded = read(path)
    graph = graph_of(recorded)
    compare(recorded, graph, interpreter.run(graph, inputs_of(recorded, graph)))


@pytest.mark.parametrize("path", HELD, ids=lambda path: path.stem)
def test_torch_fires_the_same(path):
    recorded = read(path)
    graph = graph_of(recorded)
    with torch.no_grad():
        compare(recorded, graph, torch_run(graph)(inputs_of(recorded, graph), graph.spiking))
