"""Samples one after another through one chip give what each gives alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import CubaParameters, cuba_step
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream


def body(rng: np.random.Generator, depth: int) -> Network:
    """Conv, then dense layers; biases strong enough to fire before any spike arrives, currents with memory."""

    def neuron():
        return CubaConstants(int(rng.integers(0, 4097)), int(rng.integers(0, 4097)), int(rng.integers(20, 300)))

    weight = rng.integers(-64, 65, (3, 2, 2, 2)) * 2
    layers = [
        InputLayer(shape=(2, 4, 4)),
        ConvLayer(shape=(3, 3, 3), weight=weight, bias=rng.integers(-50, 400, 3), neuron=neuron()),
        FlattenLayer(),
    ]
    inputs = 27
    for _ in range(depth):
        weight = rng.integers(-64, 65, (5, inputs)) * 2
        weight[0, 0] = 2
        layers.append(DenseLayer(shape=(5,), weight=weight, bias=rng.integers(-50, 400, 5), neuron=neuron()))
        inputs = 5
    return Network(tuple(layers))


def alone(network: Network, spikes: np.ndarray) -> dict[str, np.ndarray]:
    """One sample without any pipeline: every block sees the spikes of the same step, T steps, from u = v = 0."""
    fired, x = {}, spikes.astype(np.int64)
    for block in network.blocks():
        layer, neuron = block.layer, block.neuron
        parameters = CubaParameters(neuron.i_decay, neuron.v_decay, neuron.threshold)
        u = v = np.zeros(layer.shape, np.int64)
        emitted = []
        for x_t in x:
            if isinstance(layer, ConvLayer):
                windows = np.lib.stride_tricks.sliding_window_view(x_t, (2, 2), axis=(1, 2))
                a, bias = np.einsum("cyxhw,ochw->oyx", windows, layer.weight), layer.bias[:, None, None]
            else:
                a, bias = layer.weight @ x_t.reshape(-1), layer.bias
            parameters = CubaParameters(neuron.i_decay, neuron.v_decay, neuron.threshold, bias)
            s, u, v = cuba_step(u, v, a, parameters)
            emitted.append(s)
        fired[block.key] = x = np.array(emitted).astype(np.int64)
    return fired


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(1, 12), st.integers(1, 4), st.integers(0, 5))
def test_a_stream_of_samples_gives_what_each_gives_alone(seed, depth, steps, batch, gap):
    rng = np.random.default_rng(seed)
    network = body(rng, depth)
    samples = (rng.random((steps, batch, 2, 4, 4)) < 0.4).astype(np.uint8)
    together, stream = run_sequence(network, samples), run_stream(network, samples, reset_interval=steps + gap)
    assert together.latency_steps == stream.latency_steps == depth + 1
    for index in range(batch):
        for key, expected in alone(network, samples[:, index]).items():
            np.testing.assert_array_equal(together.spikes[key][:, index], expected, err_msg=key)
            np.testing.assert_array_equal(stream.spikes[key][:, index], expected, err_msg=key)


def test_biases_do_fire_before_a_spike_arrives_in_the_networks_above():
    network = body(np.random.default_rng(0), 3)
    silent = run_sequence(network, np.zeros((10, 1, 2, 4, 4)))
    assert all(fired.any() for fired in silent.spikes.values())


def test_steps_beyond_the_input_go_on_without_it():
    rng = np.random.default_rng(2)
    network, spikes = body(rng, 2), (rng.random((4, 3, 2, 4, 4)) < 0.5).astype(np.uint8)
    padded = np.concatenate([spikes, np.zeros((5, 3, 2, 4, 4), np.uint8)])
    for run in (run_sequence, run_stream):
        longer, expected = run(network, spikes, steps=9), run(network, padded)
        for key in expected.spikes:
            assert expected.spikes[key].shape[:2] == (9, 3)
            np.testing.assert_array_equal(longer.spikes[key], expected.spikes[key])


EYE, ONE = np.eye(2, dtype=np.int64) * 2, CubaConstants(4096, 0, 1)
PLAIN = Network((DenseLayer(shape=(2,), weight=EYE, neuron=ONE),))


@pytest.mark.parametrize(
    ("network", "spikes", "options", "message"),
    [
        (Network((InputLayer(shape=(2,), neuron=ONE),)), np.ones((2, 1, 2)), {}, "begins with input neurons"),
        (PLAIN, np.full((2, 1, 2), 2), {}, "values other than 0 and 1"),
        (PLAIN, np.full((2, 1, 2), np.nan), {}, "values other than 0 and 1"),
        (PLAIN, np.ones((2, 1, 3)), {}, r"samples of shape \(3,\)"),
        (PLAIN, np.ones((2, 1, 2)), {"steps": 1}, "steps: 1 found, at least the 2"),
    ],
)
def test_what_would_mix_samples_or_is_no_spike_is_refused(network, spikes, options, message):
    for run in (run_sequence, run_stream):
        with pytest.raises(UserError, match=message):
            run(network, spikes, **options)


def test_a_reset_before_the_end_of_a_sample_is_refused():
    with pytest.raises(UserError, match="reset interval: 3 found, at least the 4 steps"):
        run_stream(PLAIN, np.ones((4, 1, 2)), reset_interval=3)
