"""The kernel of the simulator's neurons against `cuba_step`, the one definition of them, bit for bit."""

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import CubaParameters, cuba_step
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.population import NeuronConstants, NeuronState

DECAYS = st.one_of(st.sampled_from([4096, 4096, 3072, 2048, 0, 1, 4095]), st.integers(0, 4096))
LARGEST = st.sampled_from([1, 10, 100, 1000, 5_000, 1 << 17, (1 << 17) + 1, 1 << 18, 1 << 22, (1 << 25) - 1])
CHANNELS, STEPS = 3, 12


def channels(of):
    return st.one_of(of, st.lists(of, min_size=CHANNELS, max_size=CHANNELS).map(lambda values: np.array(values, np.int64)))


def sums(rng: np.random.Generator, largest: int) -> np.ndarray:
    """Random sums up to `largest`, with the extremes, long rows of one sign, and zeros among them."""
    a = rng.integers(-largest, largest + 1, (STEPS, 4, 5, CHANNELS))
    a[:, 0] = rng.choice([-largest, largest, 0], a[:, 0].shape)
    a[:, 1] = np.abs(a[:, 1]) * rng.choice([-1, 1])
    return a


@settings(max_examples=300, deadline=None)
@given(
    i_decay=channels(DECAYS),
    v_decay=channels(DECAYS),
    threshold=st.one_of(st.sampled_from([0, 1, 131071, (1 << 24) - 1]), st.integers(0, 1 << 17)),
    bias=channels(st.integers(-(1 << 15), (1 << 15) - 1)),
    largest=LARGEST,
    keep_current=st.booleans(),
    seed=st.integers(0, 1 << 32),
)
@example(i_decay=4096, v_decay=0, threshold=1, bias=0, largest=1 << 17, keep_current=True, seed=0)  # u of exactly ±2^23
@example(i_decay=0, v_decay=0, threshold=(1 << 24) - 1, bias=0, largest=1 << 18, keep_current=False, seed=1)  # v saturates
@example(i_decay=4096, v_decay=3072, threshold=5000, bias=3, largest=900, keep_current=False, seed=2)  # float32
def test_every_spike_and_state_is_that_of_the_definition(i_decay, v_decay, threshold, bias, largest, keep_current, seed):
    parameters = CubaParameters(i_decay, v_decay, threshold, bias)
    constants = NeuronConstants(parameters, largest_sum=largest, keep_current=keep_current)
    event(f"{np.dtype(constants.dtype)}, current {constants.current}, wraps {constants.wraps}, clips {constants.clips}")
    rng = np.random.default_rng(seed)
    a = sums(rng, largest)
    u = v = np.zeros(a.shape[1:], np.int64)
    neurons, fired = NeuronState(constants, a.shape[1:]), np.empty(a.shape[1:], np.bool_)
    reset = int(rng.integers(0, STEPS))
    for step in range(STEPS):
        if step == reset:
            u, v = np.zeros_like(u), np.zeros_like(v)
            neurons.reset()
        s, u, v = cuba_step(u, v, a[step], parameters)
        halves = a[step] // 2, a[step] - a[step] // 2  # two synapses on the same neurons
        given_sums = [64 * half.astype(np.float64 if largest > 1 << 23 else np.float32) for half in halves]
        if np.abs(u).max() >= 1 << 31:
            with pytest.raises(UserError, match="left Lava's 32 bits"):
                neurons.step(given_sums, fired)
            return
        neurons.step(given_sums, fired)
        np.testing.assert_array_equal(fired, s)
        np.testing.assert_array_equal(-neurons.minus_v, v)
        assert not keep_current or neurons.u is not None
        if neurons.u is not None:
            np.testing.assert_array_equal(neurons.u, u)


@pytest.mark.parametrize(
    ("parameters", "largest", "dtype"),
    [
        (CubaParameters(4096, 2048, 100), 1 << 14, np.float32),  # λ = 1/2: v k has one bit more than v
        (CubaParameters(4096, 410, 100), 100, np.float64),  # k = 1843: v k needs more than 24 bits
        (CubaParameters(4096, 4000, 100), 100, np.float32),  # k = 3, and v is small because it loses nearly all of itself
        (CubaParameters(4096, 0, 100), 1 << 16, np.float32),  # v keeps all of itself: nothing is multiplied
        (CubaParameters(4096, 0, 100), 1 << 24, np.float64),  # a sum times 64 has 30 bits before it wraps
        (CubaParameters(4096, np.array([2048, 2049]), 100), 1 << 10, np.float64),  # only the second channel needs them
    ],
)
def test_float32_is_used_only_where_its_24_bits_hold_every_product_and_sum(parameters, largest, dtype):
    assert NeuronConstants(parameters, largest_sum=largest, keep_current=False).dtype is dtype


def test_the_bound_is_needed_float32_would_round_a_product_beyond_it():
    v = np.float32(9123 * 64 + 1)
    factor = (4096 - 410) / 4096
    exact = int(v) * (4096 - 410) // 4096
    wrong = [w for w in range(int(v), int(v) + 4096) if np.trunc(np.float32(w) * np.float32(factor)) != w * 3686 // 4096]
    assert wrong
    assert np.trunc(np.float64(v) * factor) == exact
