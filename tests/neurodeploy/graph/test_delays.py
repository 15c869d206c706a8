"""Delays that differ between the neurons of a layer mean the same in numpy, torch, ONNX and NIR, and are refused on Loihi."""

import numpy as np
import pytest
import torch

from neurodeploy.dynamics.delays import delayed
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.stored import restored, stored
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import nir
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.graph import read_graph
from neurodeploy_exporters.target import find

SHAPES = {
    "each neuron of a vector": ((5,), np.array([0, 3, 1, 0, 2])),
    "each channel of an image": ((2, 3, 4), np.array([4, 1]).reshape(2, 1, 1)),
    "each pixel": ((2, 2, 2), np.arange(8).reshape(2, 2, 2)),
    "each row of all channels": ((2, 3, 2), np.array([0, 2, 1]).reshape(3, 1)),
    "longer than the sequence": ((3,), np.array([40, 0, 2])),
}


def late(shape: tuple[int, ...], each: np.ndarray) -> Graph:
    return Graph(
        [
            ops.InputNode(name="input", shape=shape, timed=True),
            ops.DelayNode(name="late", inputs=("input",), steps=int(each.max()), each=each),
            ops.FlattenNode(name="flat", inputs=("late",)),
            ops.TimeMeanNode(name="mean", inputs=("flat",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def values(shape: tuple[int, ...], steps: int = 6, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, (steps, batch, *shape)).astype(np.float32)


@pytest.mark.parametrize(("shape", "each"), SHAPES.values(), ids=SHAPES)
def test_each_value_comes_as_late_as_its_own_delay(shape, each):
    x = values(shape)
    found = interpreter.run(late(shape, each), x)["late"]
    for place, distance in np.ndenumerate(np.broadcast_to(each, shape)):
        own, before = found[(..., *place)], x[(..., *place)]
        assert not own[:distance].any()
        assert np.array_equal(own[distance:], before[: max(0, len(x) - distance)])


@pytest.mark.parametrize(("shape", "each"), SHAPES.values(), ids=SHAPES)
def test_torch_computes_the_same_and_becomes_the_node_again(shape, each):
    graph, x = late(shape, each), values(shape)
    module = GraphModule(graph)
    assert np.array_equal(module(torch.from_numpy(x)).detach().numpy(), interpreter.run(graph, x)["logits"])
    assert differences(trace(module, shape, timed=True), graph) == ()
    assert differences(restored(*stored(graph)), graph) == ()


@pytest.mark.parametrize(("shape", "each"), SHAPES.values(), ids=SHAPES)
def test_onnx_computes_the_same_and_is_the_graph_again(shape, each, tmp_path):
    graph, x = late(shape, each), values(shape)
    model = build(graph, name="late")
    found = Session(model, also=["late"]).run({"input": x}, steps=None)
    assert np.array_equal(found["late"], interpreter.run(graph, x)["late"])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert differences(read_graph(tmp_path / "model.onnx"), graph) == ()


@pytest.mark.parametrize("chunks", [[6], [1] * 6, [2, 1, 3]], ids=str)
@pytest.mark.parametrize(("shape", "each"), SHAPES.values(), ids=SHAPES)
def test_a_stream_in_chunks_of_any_length_gives_the_same(shape, each, chunks):
    graph, x = late(shape, each), values(shape)
    stream = Session(build(graph, name="late", streaming=True), also=["late"]).stream()
    starts = np.cumsum([0, *chunks[:-1]])
    found = [stream.step(x[start : start + size]).tensors["late"] for start, size in zip(starts, chunks, strict=True)]
    assert np.array_equal(np.concatenate(found), interpreter.run(graph, x)["late"])


@pytest.mark.parametrize(("shape", "each"), SHAPES.values(), ids=SHAPES)
def test_nir_holds_a_delay_for_each_neuron(shape, each, tmp_path):
    graph, x = late(shape, each), values(shape)
    nir.write(graph, tmp_path / "late.nir")
    assert differences(nir.read(tmp_path / "late.nir"), graph) == ()
    foreign = nir.read(tmp_path / "late.nir", convention="nir")
    assert np.array_equal(interpreter.run(foreign, x)["late"], interpreter.run(graph, x)["late"])


def test_loihi_refuses_them_by_name_behind_a_sum():
    weight = np.eye(3, dtype=np.float32)
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(3,), timed=True),
            ops.LinearNode(name="fc1", inputs=("input",), weight=weight),
            ops.NeuronNode(name="lif1", inputs=("fc1",), parameters=NeuronParameters(0.5, 0.5)),
            ops.DelayNode(name="fired", inputs=("lif1",), steps=1),
            ops.AddNode(name="both", inputs=("fired", "lif1")),
            ops.DelayNode(name="late", inputs=("both",), steps=2, each=np.array([0, 2, 1])),
            ops.LinearNode(name="fc2", inputs=("late",), weight=weight),
            ops.NeuronNode(name="lif2", inputs=("fc2",), parameters=NeuronParameters(0.5, 0.5)),
            ops.TimeMeanNode(name="mean", inputs=("lif2",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    lava = find("lava")
    with pytest.raises(UserError, match=r"node late: delays of 0 to 2 steps in one layer, behind something else"):
        lava.check(graph, lava.options({}))


@pytest.mark.parametrize(
    ("steps", "each", "message"),
    [
        (2, np.array([-1, 2]), r"node late: delays of -1, 2 steps found, 0 or more up to 2 expected"),
        (3, np.array([0, 2]), r"node late: delays of 0, 2 steps found, 0 or more up to 3 expected"),
        (3, np.array([], int), r"node late: delays of none steps found"),
    ],
)
def test_delays_that_a_layer_cannot_have_are_refused(steps, each, message):
    with pytest.raises(UserError, match=message):
        ops.DelayNode(name="late", inputs=("input",), steps=steps, each=each)


def test_delays_of_another_shape_than_the_layer_are_refused():
    with pytest.raises(UserError, match=r"node late: delays \(4,\) found, of a shape that fits \(5,\) expected"):
        late((5,), np.array([0, 1, 2, 3]))


def test_gradients_go_back_as_many_steps():
    x = torch.zeros(4, 1, 2, requires_grad=True)
    delayed(x, np.array([1, 3]))[3].sum().backward()
    assert x.grad is not None
    assert torch.nonzero(x.grad).tolist() == [[0, 0, 1], [2, 0, 0]]


def test_time_may_be_the_last_axis():
    x = torch.rand(2, 3, 5)
    each = np.array([0, 2, 1])
    assert torch.equal(delayed(x, each, axis=-1), delayed(x.movedim(-1, 0), each).movedim(0, -1))
