"""Single neurons in ONNX Runtime: spikes and membrane potentials are `neuron_step`'s bit for bit, next to the threshold too."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import RESETS, NeuronParameters, neuron_step
from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build

floats = st.floats(2.0**-90, 2.0**90, width=32)


def neurons(parameters: NeuronParameters, count: int) -> Graph:
    return Graph(
        [
            ops.InputNode(name="input", shape=(count,), timed=True),
            ops.NeuronNode(name="act", inputs=("input",), parameters=parameters),
            ops.TimeMeanNode(name="mean", inputs=("act",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def by_definition(currents: np.ndarray, v: np.ndarray, p: NeuronParameters) -> tuple[np.ndarray, np.ndarray]:
    spikes, constants = [], NeuronParameters(np.float32(p.decay), np.float32(p.threshold), p.reset)
    for current in currents:
        s, v = neuron_step(v, current, constants, lambda h, threshold: (h > threshold).astype(np.float32))
        spikes.append(s)
    return np.stack(spikes), v


def currents_around(threshold: float, steps: int, seed: int) -> np.ndarray:
    """`[T, 1, N]`: float32 next to ±θ, fractions and multiples of it, zeros and numbers far larger and smaller."""
    up, down = (np.nextafter(np.float32(threshold), np.float32(to)) for to in (np.inf, 0))
    special = np.array([threshold, up, down, 0, 2.0**30 * threshold, 2.0**-30 * threshold, 2.0**-126], np.float32)
    rng = np.random.default_rng(seed)
    any_ = (threshold * rng.normal(size=(steps, 1, 40))).astype(np.float32)
    signs = rng.choice([-1, 1, 1], any_.shape).astype(np.float32)
    return np.where(rng.random(any_.shape) < 0.5, any_, signs * rng.choice(special, any_.shape))


@pytest.mark.parametrize("reset", RESETS)
@given(threshold=floats, decay=st.floats(0, 1, width=32), seed=st.integers(0, 1000))
def test_spikes_and_potentials_are_those_of_the_definition_bit_for_bit(reset, threshold, decay, seed):
    parameters = NeuronParameters(decay, threshold, reset)
    currents = currents_around(threshold, 6, seed)
    v0 = currents_around(threshold, 1, seed + 1)[0]
    session = Session(build(neurons(parameters, 40), name="n", streaming=True), also=["act"])
    found = session.run({"input": currents, "act.v0": v0})
    spikes, v = by_definition(currents, v0, parameters)
    assert np.array_equal(found["act"], spikes)
    assert np.array_equal(found["act.v"], v)


@pytest.mark.parametrize("reset", RESETS)
def test_a_potential_at_the_threshold_does_not_fire_and_the_next_float_above_does(reset):
    threshold = np.float32(0.3)
    x = np.array([[[threshold, np.nextafter(threshold, np.float32(1)), -threshold, np.inf, -np.inf]]], np.float32)
    session = Session(build(neurons(NeuronParameters(0.5, 0.3, reset), 5), name="n"), also=["act"])
    assert session.run({"input": x})["act"].tolist() == [[[0, 1, 0, 1, 0]]]


def test_a_hard_reset_takes_three_operators_a_step_and_no_more():
    (function,) = build(neurons(NeuronParameters(0.5, 0.3), 2), name="n", functions=True).functions
    (scan,) = [node for node in function.node if node.op_type == "Scan"]
    body = next(onnx.helper.get_attribute_value(one) for one in scan.attribute if one.name == "body")
    assert [node.op_type for node in body.node] == ["Mul", "Sub", "ThresholdedRelu"]


@pytest.mark.parametrize("threshold", [1e-40, 1e-300, 1e38, 1e300])
def test_a_threshold_that_leaves_float32_no_room_is_refused_by_the_name_of_the_layer(threshold):
    with pytest.raises(UserError, match=r"node act: threshold 1e[-+]\d+ found, 2\^-100 to 2\^100 expected; scale"):
        build(neurons(NeuronParameters(0.5, threshold), 2), name="n")
