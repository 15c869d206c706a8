"""Cells whose spikes come back through weights: standard neurons, recognised with their recurrence kept."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodeploy.dynamics.neurons import CubaParameters, NeuronParameters, cuba_step
from neurodeploy.dynamics.updates import Program, Update
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import torch_run
from neurodeploy.graph.standard import Leaky, leaky, recurrent_cell, standardized, why_not
from neurodeploy.io.errors import UserError

N = 24
BACK = ("input", 1)
RESETS = ("hard", "soft", "none")


def direct(*, reset: str = "hard", gain: float = 1.0, back: float = 1.0, bias: float = 0.0) -> Update:
    """`h = 0.75 v + gain x + back r + bias`, as a framework may write it."""
    step = Program()
    total = step("add", step("mul", gain, ("input", 0)), step("mul", back, BACK))
    h = step("add", step("add", step("mul", 0.75, ("state", 0)), total), bias)
    spike = step("ge", h, 1.0)
    after = {"hard": step("where", spike, 0.0, h), "soft": step("sub", h, spike), "none": h}[reset]
    return step.update(spike, (0.0, after), inputs=2)


def through_current(*, late: bool = False, gain: float = 1.0, bias: float = 0.0) -> Update:
    """A current of both, and a membrane that moves towards it."""
    step, v, i = Program(), ("state", 0), ("state", 1)
    current = step("add", step("mul", 0.5, i), step("add", ("input", 0), BACK))
    read = i if late else current
    h = step("add", step("mul", 0.75, v), step("add", step("mul", gain, read), bias))
    spike = step("gt", h, 0.75)
    return step.update(spike, (0.0, step("where", spike, 0.0, h)), (0.0, current), inputs=2)


def network(update: Update, *, bias: bool = False, scale: float = 1.0, shape: tuple[int, ...] = (N,)) -> Graph:
    generator = np.random.default_rng(3)
    weight = (generator.integers(-8, 16, (N, 30)) / 64).astype(np.float32)
    back = (scale * generator.integers(-16, 12, (N, N)) / 64).astype(np.float32)
    offset = (generator.integers(-4, 8, N) / 64).astype(np.float32) if bias else None
    nodes: list[ops.Node] = [
        ops.InputNode(name="input", shape=(30,), timed=True),
        ops.LinearNode(name="fc", inputs=("input",), weight=weight),
    ]
    source = "fc"
    if shape != (N,):
        nodes.append(ops.ReshapeNode(name="plane", inputs=("fc",), shape=shape))
        source = "plane"
    nodes += [
        ops.CellNode(name="op", inputs=(source,), update=update, recurrent=back, recurrent_bias=offset),
        ops.TimeMeanNode(name="mean", inputs=("op",)),
        ops.OutputNode(name="out", inputs=("mean",)),
    ]
    return Graph(nodes)


def samples(steps: int = 30) -> np.ndarray:
    return (np.random.default_rng(1).random((steps, 20, 30)) < 0.3).astype(np.float32)


CASES = {
    "hard": direct(),
    "soft": direct(reset="soft"),
    "none": direct(reset="none"),
    "gains": direct(gain=0.5, back=0.25, bias=0.0625),
    "current": through_current(),
    "current with a gain": through_current(gain=0.25),
    "current of the step before": through_current(late=True),
}


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_recurrent_cells_become_standard_ones_that_fire_the_same(name, arrays):
    graph, x = network(CASES[name], bias=True), samples()
    made = standardized(graph, arrays=arrays)
    assert made.replaced == ("op",)
    node = made.graph["op"]
    assert isinstance(node, ops.CellNode)
    assert leaky(node) is not None
    assert node.recurrent_bias is None
    before, after = (interpreter.run(one, x)["op"] for one in (graph, made.graph))
    assert 0 < before.mean() < 1
    assert np.array_equal(before, after)
    silent = interpreter.run(network(CASES[name], bias=True, scale=0.0), x)["op"]
    assert (silent != before).any()  # the recurrence matters
    assert standardized(made.graph, arrays=arrays).replaced == ()
    assert why_not(node, (N,)) == ""


def test_recurrence_of_a_layer_with_places_keeps_its_order():
    graph, x = network(direct(gain=0.5), shape=(2, 3, 4), bias=False), samples()
    made = standardized(graph)
    assert made.replaced == ("op",)
    assert np.array_equal(interpreter.run(graph, x)["op"], interpreter.run(made.graph, x)["op"])


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("current_decay", [None, 0.5])
def test_a_standard_recurrent_cell_is_the_equation_that_it_stands_for(reset, current_decay):
    generator = np.random.default_rng(0)
    weight = (generator.integers(-16, 16, (N, N)) / 64).astype(np.float32)
    node = recurrent_cell("op", "input", weight, Leaky(0.75, 1.0, reset, current_decay), (N,))
    x = (generator.integers(-8, 24, (20, 5, N)) / 32).astype(np.float32)
    found = node.compute(x)
    v = i = s = np.zeros((5, N), np.float32)
    for t in range(20):
        i = (current_decay or 0.0) * i + x[t] + s @ weight.T
        v = np.float32(0.75) * v + i
        s = (v > 1).astype(np.float32)
        v = {"hard": v * (1 - s), "soft": v - s, "none": v}[reset]
        assert np.array_equal(found[t], s)
    constants = leaky(node)
    assert constants is not None
    assert constants.reset == reset
    assert (constants.current_decay is None) == (current_decay is None)
    assert node.constants == NeuronParameters(0.75, 1.0, reset)


def test_torch_fires_what_numpy_does():
    graph, x = standardized(network(through_current())).graph, samples()
    assert np.array_equal(torch_run(graph)(x, ["op"])["op"], interpreter.run(graph, x)["op"])


def test_what_has_no_form_with_recurrence_says_so():
    assert re.search("bias beside the current", why_not(network(through_current(bias=0.25))["op"], (N,)))
    membrane = ops.MembraneNode(name="op", inputs=("fc",), update=potential(), recurrent=np.eye(3, dtype=np.float32))
    assert why_not(membrane, (3,)) == "other values than spikes come back to it through weights"


def potential() -> Update:
    step = Program()
    h = step("add", step("mul", 0.75, ("state", 0)), step("add", ("input", 0), BACK))
    return step.update(h, (0.0, h), inputs=2)


@pytest.mark.parametrize("shape", [(N,), (2, 3, 4)])
def test_a_chips_recurrent_neurons_are_the_same_in_numpy_and_torch(shape):
    generator = np.random.default_rng(5)
    sums = generator.integers(-120, 160, (25, 6, *shape)).astype(np.float32)
    back = 2 * generator.integers(-40, 30, (N, N))
    channels = generator.integers(100, 2000, shape[0])
    constants = {"v_decay": channels, "threshold": 90, "i_decay": 1024, "bias": -3}
    node = ops.FixedPointNeuronNode(name="op", inputs=("input",), recurrent=back, **constants)
    spikes = node.compute(sums)
    assert np.array_equal(node.layer()(torch.from_numpy(sums)).numpy(), spikes)
    assert (replace(node, recurrent=None).compute(sums) != spikes).any()
    places = (-1, *(1,) * (len(shape) - 1))
    u = v = s = np.zeros((6, *shape), np.int64)
    for t in range(25):
        arrived = sums[t].astype(np.int64) + (s.reshape(6, N) @ back.T).reshape(s.shape)
        s, u, v = cuba_step(u, v, arrived, CubaParameters(1024, channels.reshape(places), 90, -3))
        assert np.array_equal(spikes[t], s)


def test_recurrent_weights_that_do_not_fit_a_chips_neurons_are_refused():
    node = ops.FixedPointNeuronNode(name="op", inputs=("input",), v_decay=0, threshold=1, recurrent=np.eye(3, dtype=np.int64))
    with pytest.raises(UserError, match=r"node op: recurrent weights \(3, 3\) found, \(24, 24\) expected"):
        node.checked_shape([(N,)])
