"""The mean over the later time steps: what it computes, how it is traced, and what of the time steps has no form in a graph."""

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.dynamics.encodings import DirectEncoding
from neurodeploy.dynamics.layers import TimeMean
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.ops.operation import content
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError

SEQUENCE = np.random.default_rng(0).integers(-8, 9, (6, 3, 5)).astype(np.float32)


def late(skip: int, *, steps: int | None = None) -> Graph:
    entry: list[ops.Node] = [ops.InputNode(name="input", shape=(5,), timed=steps is None)]
    if steps is not None:
        entry.append(ops.EncodeNode(name="encode", inputs=("input",), steps=steps))
    mean = ops.TimeMeanNode(name="mean", inputs=(entry[-1].name,), skip=skip)
    return Graph([*entry, mean, ops.OutputNode(name="logits", inputs=("mean",))])


class Written(nn.Module):
    """A network whose forward ends as a user writes it."""

    def __init__(self, answer, steps=6):
        super().__init__()
        self.encode, self.fc, self.act, self.out = DirectEncoding(steps), nn.Linear(5, 4), nd.LIF(), nn.Linear(4, 3)
        self.answer = answer

    def forward(self, x):
        return self.answer(self.out(self.act(self.fc(self.encode(x.unsqueeze(0))))))


class Cut(nn.Module):
    """A layer of its own takes the mean of what is left."""

    def __init__(self):
        super().__init__()
        self.mean = TimeMean()

    def forward(self, x):
        return self.mean(x[2:])


def written(answer, steps=6):
    torch.manual_seed(0)
    return Written(answer, steps).eval()


@pytest.mark.parametrize("skip", [0, 1, 5])
def test_the_mean_leaves_out_the_first_steps_in_numpy_and_in_torch(skip):
    expected = SEQUENCE[skip:].mean(0)
    assert np.array_equal(interpreter.run(late(skip), SEQUENCE)["logits"], expected)
    with torch.no_grad():
        np.testing.assert_allclose(GraphModule(late(skip))(torch.from_numpy(SEQUENCE)).numpy(), expected, rtol=1e-6)
        np.testing.assert_allclose(TimeMean(skip)(torch.from_numpy(SEQUENCE)).numpy(), expected, rtol=1e-6)


def test_a_layer_that_skips_is_traced_to_the_node_that_it_came_from():
    graph = late(2)
    assert differences(trace(GraphModule(graph), (5,), timed=True), graph) == ()


@pytest.mark.parametrize(
    ("answer", "skip"),
    [
        (lambda x: x.mean(0), 0),
        (lambda x: x[0:].mean(0), 0),
        (lambda x: x[2:].mean(0), 2),
        (lambda x: x[-2:].mean(0), 4),
        (lambda x: x[2:, :, 1:].mean(0), 2),
        (lambda x: torch.mean(x[len(x) // 2 :], 0), 3),
    ],
)
def test_the_mean_of_a_slice_over_time_is_one_node_and_agrees_with_the_module(answer, skip):
    network, x = written(answer), torch.rand(4, 5)
    model = nd.deploy(network, x)
    (mean,) = model.graph.of(ops.TimeMeanNode)
    assert (mean.skip, model.graph.skipped) == (skip, skip)
    with torch.no_grad():
        torch.testing.assert_close(model.module(x), network(x))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda x: x[2:], "answers a part of the time steps"),
        (lambda x: x[:3].mean(0), "takes a part of the time steps"),
        (lambda x: x[::2].mean(0), "takes a part of the time steps"),
        (lambda x: x[-1], "takes a part of the time steps"),
        (lambda x: torch.relu(x[2:]).mean(0), "operation relu .*reads a part of the time steps"),
        (lambda x: (x[2:] + x[2:]).mean(0), "reads a part of the time steps"),
        (lambda x: x[2:].mean(2), "reads a part of the time steps"),
        (lambda x: x[2:].sum(0), "reads a part of the time steps"),
        (lambda x: x[2:][1:].mean(0), "reads a part of the time steps"),
        (lambda x: x[2:, None].mean(0), "takes a part of the time steps, and another shape at once"),
        (Cut(), "reads a part of the time steps"),
    ],
)
def test_no_other_part_of_the_time_steps_has_a_form_in_a_graph(answer, reason):
    network = written(answer)
    with pytest.raises(UserError, match=rf"{reason}.*take the mean over"):
        trace(network, (5,))


def test_a_mean_that_skips_every_step_is_refused_by_name_wherever_it_is_met():
    message = r"(node|layer) mean.*: skips the first 6 time steps, and 6 found; run the network for more steps, or skip fewer"
    with pytest.raises(UserError, match=message):
        interpreter.run(late(6), SEQUENCE)
    with pytest.raises(UserError, match=message):
        GraphModule(late(6))(torch.from_numpy(SEQUENCE))
    with pytest.raises(UserError, match=message):
        late(6, steps=6)
    with pytest.raises(UserError, match="layer TimeMean: skips the first 6 time steps, and 6 found"):
        TimeMean(6)(torch.from_numpy(SEQUENCE))


@pytest.mark.parametrize("last", [1, 2, 6])
def test_a_negative_number_is_that_of_the_last_steps_which_the_mean_is_of(last):
    graph = late(-last)
    expected = interpreter.run(late(6 - last), SEQUENCE)[graph.output.name]
    assert np.array_equal(interpreter.run(graph, SEQUENCE)[graph.output.name], expected)
    found = GraphModule(graph)(torch.from_numpy(SEQUENCE)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_mean_of_more_last_steps_than_there_are_is_refused():
    with pytest.raises(UserError, match="is of the last 7 time steps, and 6 found"):
        interpreter.run(late(-7), SEQUENCE)
    with pytest.raises(UserError, match="layer TimeMean: is of the last 7 time steps, and 6 found"):
        TimeMean(-7)(torch.from_numpy(SEQUENCE))


def test_a_mean_over_all_steps_has_the_content_that_it_had_before_it_could_skip():
    assert content(late(0)["mean"]) == {"name": "mean", "inputs": ("input",)}
    assert content(late(2)["mean"])["skip"] == 2
