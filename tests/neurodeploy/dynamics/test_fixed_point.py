"""The integer update of a CUBA-LIF neuron, against exact arithmetic on Python's own integers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import CubaParameters, NeuronParameters, cuba_step, neuron_step
from neurodeploy.graph import Graph, interpreter, ops, partition

LIMIT = 1 << 23


def by_hand(u: int, v: int, a: int, i_decay: int, v_decay: int, threshold: int, bias: int) -> tuple[bool, int, int]:
    """The published rule, one neuron, with `abs` and floor division only."""

    def decayed(x: int, decay: int) -> int:
        size = abs(x) * (4096 - decay) // 4096
        return size if x >= 0 else -size

    u = decayed(u, i_decay) + 64 * a
    if u > LIMIT:
        u -= 2 * LIMIT
    elif u <= -LIMIT:
        u += 2 * LIMIT
    v = max(1 - LIMIT, min(LIMIT - 1, decayed(v, v_decay) + u + 64 * bias))
    return v > 64 * threshold, u, 0 if v > 64 * threshold else v


states = st.integers(1 - LIMIT, LIMIT - 1)
decays = st.one_of(st.sampled_from([0, 1, 2048, 4095, 4096]), st.integers(0, 4096))


@given(states, states, st.integers(-(1 << 19), 1 << 19), decays, decays, st.integers(0, 131071), st.integers(-4096, 4095))
def test_one_step_equals_the_rule_done_by_hand(u, v, a, i_decay, v_decay, threshold, bias):
    expected = by_hand(u, v, a, i_decay, v_decay, threshold, bias)
    parameters = CubaParameters(i_decay, v_decay, threshold, bias)
    computed = cuba_step(*(np.array([x], np.int64) for x in (u, v, a)), parameters)
    assert tuple(int(x[0]) for x in computed) == tuple(map(int, expected))


@given(states, states, st.integers(-(1 << 19), 1 << 19), decays, decays)
def test_numpy_and_torch_agree(u, v, a, i_decay, v_decay):
    parameters = CubaParameters(i_decay, v_decay, 100, -3)
    numpy_result = cuba_step(*(np.array([x], np.int64) for x in (u, v, a)), parameters)
    torch_result = cuba_step(*(torch.tensor([x]) for x in (u, v, a)), parameters)
    assert [x.tolist() for x in numpy_result] == [x.tolist() for x in torch_result]


@pytest.mark.parametrize(("v", "fires"), [(640, False), (641, True)])
def test_a_potential_exactly_at_the_threshold_does_not_fire(v, fires):
    zero = np.zeros(1, np.int64)
    spikes, _, after = cuba_step(zero, np.array([v]), zero, CubaParameters(threshold=10))
    assert (bool(spikes[0]), int(after[0])) == (fires, 0 if fires else v)


def test_constants_may_differ_from_neuron_to_neuron():
    u = np.full((2, 3), 4096, np.int64)
    parameters = CubaParameters(i_decay=np.array([0, 2048, 4096]), v_decay=np.array([4096, 4096, 4096]), threshold=100)
    _, u, v = cuba_step(u, np.zeros_like(u), np.zeros_like(u), parameters)
    np.testing.assert_array_equal(u, [[4096, 2048, 0]] * 2)
    np.testing.assert_array_equal(v, u)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1024, 2048, 4096]))
def test_without_synaptic_memory_it_is_the_lif_neuron_of_the_toolkit(seed, v_decay):
    rng = np.random.default_rng(seed)
    u = v = np.zeros(8, np.int64)
    h = np.zeros(8)
    for _ in range(3):  # few steps, so that 64 times the current times λ stays whole and nothing is rounded
        a = 64 * rng.integers(-50, 100, 8)
        s, u, v = cuba_step(u, v, a, CubaParameters(4096, v_decay, 3000))
        spiked, h = neuron_step(h, a, NeuronParameters(1 - v_decay / 4096, 3000), lambda x, theta: (x > theta).astype(float))
        np.testing.assert_array_equal(s, spiked)
        np.testing.assert_array_equal(v, 64 * h)


def test_the_interpreter_and_the_partition_take_fixed_point_neurons_for_spiking_layers():
    def members(spiking):
        synapse = ops.LinearNode(name="fc", inputs=("x",), weight=np.eye(3, dtype=np.float32) * 64)
        mean = ops.TimeMeanNode(name="mean", inputs=("n",))
        return [
            ops.InputNode(name="x", shape=(3,), timed=True),
            synapse,
            spiking,
            mean,
            ops.OutputNode(name="out", inputs=("mean",)),
        ]

    trained = Graph(members(ops.NeuronNode(name="n", inputs=("fc",), parameters=NeuronParameters(0.5, 100))))
    integers = Graph(members(ops.FixedPointNeuronNode(name="n", inputs=("fc",), v_decay=2048, threshold=100)))
    x = (np.random.default_rng(0).random((9, 4, 3)) < 0.7).astype(np.float32)
    assert partition(integers) == partition(trained)
    expected = interpreter.spikes(trained, interpreter.run(trained, x))
    computed = interpreter.spikes(integers, interpreter.run(integers, x))
    assert computed["n"].dtype == np.float32
    assert 0 < computed["n"].mean() < 1
    np.testing.assert_array_equal(computed["n"], expected["n"])
