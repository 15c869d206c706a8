"""Small spiking networks on real digits, and bundles of them, made once and shared."""

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.data import Digits
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.dynamics.surrogates import Rectangle
from neurodeploy.graph import Graph, fold_batch_norm, interpreter, ops, partition
from neurodeploy.graph.tracing import trace
from neurodeploy.networks import ConvNetSpec, NetworkSpec, ResNetSpec, SpikingActivations
from neurodeploy_exporters import lava, onnx

STEPS = 4
SPECS: dict[str, NetworkSpec] = {
    "conv": ConvNetSpec(channels=(4, 6, 8), strides=(1, 2, 2)),
    "resnet": ResNetSpec(channels=(4, 6), blocks=(1, 1)),
}

Networks = Callable[..., torch.nn.Module]


@functools.cache
def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = Digits().load()
    return data.test_samples[:200], data.test_labels[:200]


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """200 handwritten digits `[N, 1, 8, 8]` and their labels."""
    samples, labels = _digits()
    return samples.numpy(), labels.numpy()


@functools.cache
def _network(kind: str, reset: Reset, repact: bool) -> torch.nn.Module:
    """Trained for a few steps on digits, so that its batch norms have statistics; biased so that all its layers fire."""
    torch.manual_seed(1)
    activations = SpikingActivations(functools.partial(Neuron, NeuronParameters(0.5, 0.5, reset), Rectangle()), STEPS, repact)
    network = SPECS[kind].build(1, 10, activations)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.bias, 0.3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    samples, labels = _digits()
    for batch in torch.arange(200).split(40) * 4:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(samples[batch]).logits, labels[batch]).backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="session")
def network() -> Networks:
    """`(kind, reset, repact)` → a spiking network; kind is "conv" or "resnet"."""
    return lambda kind, reset="hard", repact=False: _network(kind, reset, repact)


@functools.cache
def _graph(kind: str, reset: Reset, repact: bool) -> Graph:
    return fold_batch_norm(trace(_network(kind, reset, repact), (1, 8, 8)))


@pytest.fixture(scope="session")
def graph() -> Callable[..., Graph]:
    """`(kind, reset, repact)` → the network's graph, batch norm folded."""
    return lambda kind, reset="hard", repact=False: _graph(kind, reset, repact)


def _as_stored(graph: Graph) -> Graph:
    def stored(node: ops.Node) -> ops.Node:
        if isinstance(node, ops.LowPassNode):
            return replace(node, decay=float(np.float32(node.decay)))
        if not isinstance(node, ops.NeuronNode):
            return node
        p = node.parameters
        return replace(node, parameters=NeuronParameters(float(np.float32(p.decay)), float(np.float32(p.threshold)), p.reset))

    return Graph(map(stored, graph.nodes))


@pytest.fixture(scope="session")
def as_stored() -> Callable[[Graph], Graph]:
    """A graph → the same with the constants of its neurons in float32, as an ONNX model holds them."""
    return _as_stored


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, graph, digits) -> dict[str, Path]:
    """Target → a sound bundle of the same exact network; to be read only.

    Two more for Lava: "residual", of a network that branches, and "graded", of the same network cut behind the last synapse.
    """
    root = tmp_path_factory.mktemp("bundles")
    exporters = {"onnx": onnx.export, "lava": lava.export}
    made = {
        target: export(graph("conv"), digits[0][:6], root / target, name="small", quantize="exact")
        for target, export in exporters.items()
    }
    for name, kind, cut in (("residual", "resnet", "last-spike"), ("graded", "conv", "last-synapse")):
        made[name] = lava.export(graph(kind), digits[0][:6], root / name, name="small", quantize="exact", head_cut=cut)
    return made


@pytest.fixture
def bundle(bundles, tmp_path) -> Callable[[str], Path]:
    """Target → a copy of its bundle that may be changed."""
    return lambda target: Path(shutil.copytree(bundles[target], tmp_path / target))


@pytest.fixture(scope="session")
def at_threshold() -> tuple[Graph, np.ndarray]:
    """A network whose encoder sums to the threshold itself for one of the samples, up to the order of the sum; the samples."""
    x = (np.random.default_rng(1).integers(0, 257, (50, 64)) / 256).astype(np.float32)
    graph = _dense(0.5)
    ours = interpreter.run(graph, x)["fc"]
    theirs = onnx.Session(onnx.build(graph, partition(graph).encoder, name="n"), also=["fc"]).run({"input": x}, steps=1)["fc"]
    differing = (ours != theirs) & (ours > 0.1) & (ours < 1)
    if not differing.any():
        pytest.skip("ONNX Runtime and numpy take their sums in the same order on this machine: no sample tells them apart")
    return _dense(float(min(ours[differing][0], theirs[differing][0]))), x


def _dense(threshold: float) -> Graph:
    rng = np.random.default_rng(0)

    def linear(name: str, source: str, *shape: int) -> ops.LinearNode:
        return ops.LinearNode(name=name, inputs=(source,), weight=rng.normal(0, 0.3, shape).astype(np.float32))

    neuron = NeuronParameters(0.5, threshold, "hard")
    return Graph(
        [
            ops.InputNode(name="input", shape=(64,)),
            linear("fc", "input", 16, 64),
            ops.EncodeNode(name="encode", inputs=("fc",), steps=4),
            ops.NeuronNode(name="first", inputs=("encode",), parameters=neuron),
            linear("inner", "first", 16, 16),
            ops.NeuronNode(name="second", inputs=("inner",), parameters=neuron),
            linear("classifier", "second", 3, 16),
            ops.TimeMeanNode(name="mean", inputs=("classifier",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
