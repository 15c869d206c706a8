"""Networks that pad, slice, join and turn their tensors, with pools and layers of all kinds: every target's bundle passes."""

from typing import Any

import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava, nir, onnx
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.verify import verify
from neurodeploy_exporters.verify.artefact import read_artefact


class Network:
    """Adds one node after the other, each reading the one before it where it is not told what to read."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[ops.Node] = [ops.InputNode(name="input", shape=shape)]

    def add(self, kind: type[ops.Node], name: str, *inputs: str, **fields: Any) -> "Network":
        self.nodes.append(kind(name=name, inputs=inputs or (self.nodes[-1].name,), **fields))
        return self

    def conv(self, name: str, *weight: int, stride: int = 1, padding: int = 0) -> "Network":
        axes = len(weight) - 2
        plan = {"stride": (stride,) * axes, "padding": (padding,) * axes, "dilation": (1,) * axes}
        return self.add(ops.ConvNode, name, weight=self.weights(*weight), bias=self.weights(weight[0]), **plan)

    def weights(self, *shape: int) -> np.ndarray:
        return self.rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    def fire(self, name: str) -> "Network":
        return self.add(ops.NeuronNode, name, parameters=NeuronParameters(0.5, 0.25, "hard"))

    def graph(self) -> Graph:
        self.add(ops.TimeMeanNode, "mean").add(ops.OutputNode, "logits")
        return Graph(self.nodes)


def encoder() -> Network:
    """(2, 6, 6), turned and joined with a part of itself, padded on one side, convolved, cut at 1, pooled: (4, 4, 4)."""
    net = Network((2, 6, 6)).add(ops.PermuteNode, "turn", order=(0, 2, 1))
    net.add(ops.SliceNode, "first", "input", starts=(0, 0, 0), stops=(1, 6, 6), steps=(1, 1, 1))
    net.add(ops.ConcatNode, "both", "turn", "first", axis=0)
    net.add(ops.PadNode, "same", pads=((0, 0), (0, 1), (1, 2))).conv("conv1", 4, 3, 3, 3)
    net.add(ops.ReluNode, "relu", ceiling=1.0)
    net.add(ops.MaxPoolNode, "max", kernel=(3, 3), stride=(2, 2), padding=((1, 2), (1, 1)))
    net.add(ops.SliceNode, "inner", starts=(0, 0, 0), stops=(4, 3, 4), steps=(1, 1, 1))
    return net.add(ops.PadNode, "row", pads=((0, 0), (1, 0), (0, 0))).add(ops.EncodeNode, "encode", steps=3).fire("a")


def body(net: Network) -> Network:
    """A residual block with the shortcut of option A, and a layer that reads two others side by side: (8, 2, 2)."""
    net.add(ops.PadNode, "one_side", pads=((0, 0), (0, 1), (0, 1))).conv("conv2", 8, 4, 3, 3, stride=2)
    net.add(ops.SliceNode, "skip", "a", starts=(0, 0, 0), stops=(4, 4, 4), steps=(1, 2, 2))
    net.add(ops.PadNode, "more", pads=((2, 2), (0, 0), (0, 0))).add(ops.AddNode, "sum", "conv2", "more").fire("b")
    net.conv("conv3", 8, 8, 1, 1).fire("c")
    net.add(ops.ConcatNode, "side", "c", "b", axis=0)
    net.add(ops.AvgPoolNode, "avg", kernel=(2, 2), stride=(1, 1), padding=((1, 0), (0, 1))).conv("conv4", 8, 16, 1, 1)
    return net.fire("d")


def head(net: Network) -> Network:
    """Spikes (8, 2, 2) as (2, 2, 2, 4), through layers over three axes and a transposed convolution, to 3 answers."""
    net.add(ops.ReshapeNode, "cube", shape=(2, 2, 2, 4)).conv("conv5", 3, 2, 2, 2, 3, padding=1)
    net.add(ops.AvgPoolNode, "fewer", kernel=(2, 2, 2), stride=(2, 2, 2), padding=((1, 0),) * 3, count_padding=False)
    net.add(ops.PermuteNode, "turned", order=(1, 0, 2, 3)).add(ops.ReshapeNode, "plane", shape=(6, 2, 2))
    geometry = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "dilation": (1, 1), "groups": 2}
    net.add(ops.ConvTransposeNode, "up", weight=net.weights(6, 2, 3, 2), bias=net.weights(4), **geometry)
    net.add(ops.ReluNode, "relu6", ceiling=6.0).add(ops.FlattenNode, "flat")
    inputs = Graph([*net.nodes, ops.OutputNode(name="logits", inputs=("flat",))]).shape("flat")[0]
    return net.add(ops.LinearNode, "fc", weight=net.weights(3, inputs))


NETWORK = head(body(encoder())).graph()
SAMPLES = (np.random.default_rng(1).integers(0, 257, (6, 2, 6, 6)) / 256).astype(np.float32)


def exported(target: Any, graph: Graph, folder: Any, quantize: str, **options: Any) -> Any:
    bundle = target.export(graph, SAMPLES, folder, name="moved", quantize=quantize, **options)
    outcome = verify(bundle)
    assert outcome.passed
    assert outcome.spikes_compared > 0
    if quantize == "exact":
        assert not any(outcome.mismatched_spikes.values())
    artefact = read_artefact(bundle)
    assert {layer: fired.shape for layer, fired in artefact.fire(SAMPLES).items()} == {
        layer: (3, 6, *graph.shape(layer)) for layer in graph.spiking
    }
    return bundle


def test_the_network_moves_values_in_each_of_its_parts_and_fires_in_every_layer():
    cut = partition(NETWORK)
    assert {NETWORK[name].kind for name in cut.encoder.members} >= {"Permute", "Slice", "Concat", "Pad", "MaxPool", "Relu"}
    assert {NETWORK[name].kind for name in cut.body.members} >= {"Slice", "Concat", "Pad", "AvgPool"}
    assert {NETWORK[name].kind for name in cut.head.members} >= {"Reshape", "Permute", "ConvTranspose", "AvgPool", "Relu"}
    spikes = interpreter.spikes(NETWORK, interpreter.run(NETWORK, SAMPLES))
    assert all(0.05 < fired.mean() < 0.95 for fired in spikes.values())


def test_what_moves_spikes_and_is_read_in_two_parts_is_computed_in_both_so_that_spikes_alone_cross(tmp_path):
    net = body(encoder())
    net.add(ops.FlattenNode, "early", "more").add(ops.FlattenNode, "late", "d").add(
        ops.ConcatNode, "ends", "early", "late", axis=0
    )
    graph = net.add(ops.LinearNode, "fc", weight=net.weights(3, 64)).graph()
    cut = partition(graph)
    assert {"skip", "more"} <= {*cut.body.members} & {*cut.head.members}
    assert set(cut.head.inputs) == {"a", "d"}
    for target in (onnx, lava):
        exported(target, graph, tmp_path / target.__name__, "exact")


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_an_onnx_bundle_passes(tmp_path, quantize):
    exported(onnx, NETWORK, tmp_path / "b", quantize, streaming=True, spike_counts=True)


def test_an_onnx_bundle_in_8_bit_integers_passes(tmp_path):
    exported(onnx, NETWORK, tmp_path / "b", "int8", calibration=SAMPLES)


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_a_lava_bundle_passes(tmp_path, quantize):
    bundle = read_bundle(exported(lava, NETWORK, tmp_path / "b", quantize))
    assert {piece.name for piece in bundle.manifest.pieces} == {"encoder", "body", "head"}


def test_a_lava_bundle_of_a_chain_with_padding_on_one_side_is_one_that_netx_reads(tmp_path):
    net = encoder().add(ops.PadNode, "one_side", pads=((0, 0), (0, 1), (0, 1))).conv("conv2", 4, 4, 3, 3, stride=2).fire("b")
    net.add(ops.FlattenNode, "flat").add(ops.LinearNode, "fc", weight=net.weights(3, 16))
    assert (exported(lava, net.graph(), tmp_path / "b", "exact") / "body.net").is_file()


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_a_nir_bundle_holds_the_padding_in_the_convolution_after_it(tmp_path, quantize):
    net = encoder().add(ops.PadNode, "one_side", pads=((0, 0), (0, 1), (0, 1))).conv("conv2", 4, 4, 3, 3, stride=2).fire("b")
    net.add(ops.AvgPoolNode, "avg", kernel=(2, 2), stride=(1, 1), padding=((1, 1), (1, 1)))
    net.conv("conv3", 2, 4, 2, 2).fire("c")
    graph = head(net.add(ops.PadNode, "more", pads=((6, 0), (0, 0), (0, 0)))).graph()
    bundle = exported(nir, graph, tmp_path / "b", quantize)
    found = nir.read(bundle / "body.nir")
    assert not found.of(ops.PadNode)
    assert (found["conv2"].padding, found["conv2"].weight.shape) == ((1, 1), (4, 4, 4, 4))
    assert found["avg"].padding == ((1, 1), (1, 1))


def test_a_nir_file_of_joined_layers_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(
        UserError, match=r"node skip \(Slice\): has no form in NIR; put a stride in its place, or export to ONNX"
    ):
        nir.export(NETWORK, SAMPLES, tmp_path / "b", name="moved")
