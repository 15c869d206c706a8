"""Files that four frameworks wrote are recognised and compute, step by step, what the frameworks computed."""

import numpy as np
import pytest

from neurodeploy.graph import interpreter, ops
from neurodeploy.graph.standard import leaky
from neurodeploy_exporters.nir import CONVENTIONS, read_with_conventions

EQUAL = {
    "spikingjelly": ("lif", "lif-undecayed", "lif-reset", "plif", "if", "cuba", "residual", "conv"),
    "snntorch": ("lif", "cuba", "conv"),
    "norse": ("lif", "lif-deep", "cuba", "if", "li"),
    "sinabs": ("lif", "if", "li", "conv"),
}


def last(graph):
    """What the file's output is, before the mean over time."""
    mean = graph[graph.output.inputs[0]]
    assert isinstance(mean, ops.TimeMeanNode)
    return mean.inputs[0]


@pytest.mark.parametrize("name", [f"{framework}-{name}" for framework, names in EQUAL.items() for name in names])
def test_a_file_is_recognised_and_every_spike_is_the_frameworks(theirs, name):
    path, inputs, outputs = theirs(name)
    reading = read_with_conventions(path)
    assert reading.convention == CONVENTIONS[name.partition("-")[0]]
    assert any("neurons as" in statement for statement in reading.statements)
    found = interpreter.run(reading.graph, inputs)[last(reading.graph)]
    if outputs.dtype == np.uint8:
        assert 0.02 < outputs.mean() < 0.9
        assert np.array_equal(found, outputs)
    else:
        assert outputs.std() > 0.1
        np.testing.assert_allclose(found, outputs, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "without"),
    [
        ("sinabs-lif-zero", {"reset": "hard"}, 0.10),
        ("sinabs-lif-normalised", {"convention": "sinabs-normalised"}, 0.14),
    ],
)
def test_what_a_file_does_not_tell_can_be_told(theirs, name, options, without):
    path, inputs, outputs = theirs(name)

    def differing(**chosen):
        graph = read_with_conventions(path, **chosen).graph
        return (interpreter.run(graph, inputs)[last(graph)] != outputs).mean()

    assert differing(**options) == 0
    assert differing() == pytest.approx(without, abs=0.01)


def test_the_reset_that_snntorch_does_not_write_is_nearly_ours_when_told(theirs):
    """Its default subtracts, one step late: the file says 0, and our reset that subtracts is not quite the same."""
    path, inputs, outputs = theirs("snntorch-lif-subtract-late")
    for reset, most in (("soft", 0.03), ("hard", 0.12)):
        graph = read_with_conventions(path, reset=reset).graph
        assert most - 0.02 < (interpreter.run(graph, inputs)[last(graph)] != outputs).mean() < most


def test_several_spikes_per_step_are_not_ours(theirs):
    path, inputs, outputs = theirs("sinabs-lif-multi")
    graph = read_with_conventions(path).graph
    found = interpreter.run(graph, inputs)[last(graph)]
    assert outputs.max() == 2
    assert 0 < (found != outputs).mean() < 0.02


def test_snntorchs_recurrent_layer_is_read_with_what_comes_back(theirs):
    """Its reset that subtracts a step late has no form here; with it in place of ours, every spike is its own."""
    path, inputs, outputs = theirs("snntorch-recurrent")
    reading = read_with_conventions(path)
    assert reading.convention == CONVENTIONS["snntorch"]
    assert "what 1.lif fires comes back to it in the next step, through 1.w_rec" in reading.statements
    cell, linear = reading.graph["1.lif"], reading.graph["0"]
    constants = leaky(cell)
    assert constants is not None
    assert np.max(constants.decay) == np.min(constants.decay) == 0.5
    v = s = np.zeros(outputs.shape[1:], np.float32)
    for t in range(len(inputs)):
        v = 0.5 * v + linear.compute(inputs[t]) + s @ cell.recurrent.T - (v > 1)
        s = (v > 1).astype(np.float32)
        assert np.array_equal(s, outputs[t])
    found = interpreter.run(reading.graph, inputs)[last(reading.graph)]
    assert 0 < (found != outputs).mean() < 0.06


def test_what_was_assumed_is_stated(theirs):
    statements = read_with_conventions(theirs("norse-cuba")[0]).statements
    text = "\n".join(statements)
    for part in (
        "convention norse: neurons as Norse writes them",
        "decay per step 1 - dt/tau (Euler), dt = 0.001 s, tau being what the file says divided by dt",
        "input times R dt/tau, but unscaled into IF and current",
        "fires at v > threshold",
        "reset to v_reset",
        "synaptic current of the same step",
        "input of shape (1, 20): the first 1 of its axes taken for a batch; a sample is (20,)",
        "answer: the mean of the output over time",
    ):
        assert part in text
    text = "\n".join(read_with_conventions(theirs("sinabs-lif")[0]).statements)
    assert "exp(-dt/tau) (exponential), dt = 1\n" in text
    assert "fires at v >= threshold: here at v > the next smaller float32" in text
    assert "reset subtracts the threshold" in text


def test_a_threshold_of_at_least_becomes_the_float32_below_it(theirs):
    graph = read_with_conventions(theirs("sinabs-if")[0]).graph
    (neuron,) = graph.of(ops.NeuronNode)
    assert neuron.parameters.threshold == float(np.nextafter(np.float32(1), np.float32(0)))
