"""The simulator against recorded runs of Intel's Lava, bit for bit, and against its own plain restatement."""

from typing import Any

import h5py
import numpy as np
import pytest
import torch

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.layers import ConvLayer, CubaNeuron, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import simulate

PLAIN = CubaNeuron(4096, 0, 10)
CASES = ("g01", "g02", "g03", "g04", "g05", "g06", "g07", "g08", "g09", "g10a", "g10b", "g11", "g13")


def run(case: Any, **changes) -> dict[str, np.ndarray]:
    names = ("mode", "reset_interval", "reset_offset", "skip_layers", "num_layers", "input_message_bits", "skips")
    options = {name: case.settings[name] for name in names} | changes
    return simulate(read(case.network), case.inputs, case.settings["steps"], **options)


@pytest.mark.parametrize("name", CASES)
def test_every_spike_current_and_potential_equals_what_lava_computed(recorded, name):
    case = recorded(name)
    computed = run(case)
    assert {f"{layer['key']}_{what}" for layer in case.settings["layers"] for what in "suv"} == set(computed)
    for key, expected in case.expected.items():
        np.testing.assert_array_equal(computed[key], expected, err_msg=key)
    for layer in case.settings["layers"]:  # also what was too large to be recorded
        for what in "suv":
            digest = case.digest(computed[f"{layer['key']}_{what}"])
            assert digest == layer["sha256_int32"][what], (layer["key"], what)


def test_a_dense_layer_without_neurons_integrates_as_lava_does(recorded):
    case = recorded("g12")  # only its last layer: the others hold values that netx changes on reading
    with h5py.File(case.network) as file:
        weight = file["layer/5/weight"][()].astype(np.int64)
    network = Network((DenseLayer(shape=(10,), weight=weight, neuron=CubaNeuron(0, 4096, 1 << 17)),))
    computed = simulate(network, case.expected["L4_Dense_s"], case.settings["steps"])
    for what in "suv":
        np.testing.assert_array_equal(computed[f"L0_Dense_{what}"], case.expected[f"L5_Dense_{what}"])


def test_each_sample_of_a_batch_gives_what_it_gives_alone(recorded):
    case = recorded("g04")
    rng = np.random.default_rng(0)
    other = (rng.random(case.inputs.shape) < 0.2).astype(np.int8)
    network, steps = read(case.network), case.settings["steps"]
    together = simulate(network, np.concatenate([case.inputs, other], 1), steps)
    for index, inputs in enumerate((case.inputs, other)):
        for key, array in simulate(network, inputs, steps).items():
            np.testing.assert_array_equal(together[key][:, index], array[:, 0], err_msg=key)


def test_reduced_precision_of_torch_does_not_reach_the_sums(recorded):
    case = recorded("g05")
    expected = run(case)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        computed = run(case)
    finally:
        torch.set_float32_matmul_precision(before)
    for key in expected:
        np.testing.assert_array_equal(computed[key], expected[key], err_msg=key)


def test_sums_beyond_float32_are_still_exact():
    rng = np.random.default_rng(5)
    weight = rng.integers(-128, 127, (3, 4)) * 2
    network = Network((DenseLayer(shape=(3,), weight=weight, neuron=CubaNeuron(4096, 4096, 10)),))
    inputs = rng.integers(10000, 30000, (2, 1, 4))
    computed = simulate(network, inputs, 3, input_message_bits=24)
    sums = inputs[:, 0] @ weight.T
    assert np.abs(weight).sum(1).max() * inputs.max() > 1 << 24
    wrapped = 64 * sums - (64 * sums > 1 << 23) * (1 << 24) + (64 * sums <= -(1 << 23)) * (1 << 24)
    np.testing.assert_array_equal(computed["L0_Dense_u"][1:, 0], wrapped)


def test_only_what_is_asked_for_is_recorded():
    network = Network((DenseLayer(shape=(2,), weight=np.eye(2, dtype=np.int64) * 2, neuron=PLAIN),))
    recorded = simulate(network, np.ones((1, 3, 2)), 4, record=("u",))
    assert list(recorded) == ["L0_Dense_u"]
    np.testing.assert_array_equal(recorded["L0_Dense_u"][:, 0, 0], [0, 128, 0, 0])


def test_a_spike_arrives_one_step_after_it_was_fired_plus_the_delay():
    eye = np.eye(2, dtype=np.int64) * 2
    network = Network((DenseLayer(shape=(2,), weight=eye, delay=np.array([0, 3]), neuron=PLAIN),))
    u = simulate(network, np.ones((1, 1, 2)), 6, record=("u",))["L0_Dense_u"][:, 0]
    np.testing.assert_array_equal(u[:, 0], [0, 128, 0, 0, 0, 0])
    np.testing.assert_array_equal(u[:, 1], [0, 0, 0, 0, 128, 0])


def test_a_part_of_the_layers_can_be_run(recorded):
    case = recorded("g06")
    network = read(case.network)
    first = simulate(network, case.inputs, 60, num_layers=3)
    assert [key for key in first if key.endswith("_s")] == ["L0_Dense_s", "L1_Dense_s", "L2_Dense_s"]
    rest = simulate(network, first["L2_Dense_s"], 60, skip_layers=3)
    np.testing.assert_array_equal(rest["L5_Dense_v"], case.expected["L8_Dense_v"])


DENSE = Network((DenseLayer(shape=(2,), weight=np.full((2, 3), 2), neuron=PLAIN),))
CONV = Network((ConvLayer(shape=(1, 2, 2), weight=np.full((1, 1, 2, 2), 2), neuron=PLAIN),))
DRIVEN = Network((InputLayer(shape=(3,), neuron=PLAIN), DenseLayer(shape=(2,), weight=np.full((2, 3), 2), neuron=PLAIN)))
FLAT = Network((FlattenLayer(), DenseLayer(shape=(2,), weight=np.full((2, 4), 2), neuron=PLAIN)))
KEEPING = Network((DenseLayer(shape=(2,), weight=np.full((2, 3), 2), neuron=CubaNeuron(0, 0, 1)),))
ONES = np.ones((2, 1, 3))


@pytest.mark.parametrize(
    ("network", "inputs", "options", "message"),
    [
        (DENSE, np.ones((2, 1, 4)), {}, r"input: samples of shape \(4,\) found, \(3,\) expected"),
        (DENSE, np.ones((2, 3)), {}, r"input: shape \(2, 3\) found"),
        (DENSE, np.ones((0, 1, 3)), {}, r"input: shape \(0, 1, 3\) found"),
        (CONV, np.ones((2, 1, 1, 5, 5)), {}, r"/layer/0/shape: \(1, 2, 2\) found, but its input \(1, 5, 5\)"),
        (CONV, np.ones((2, 1, 3, 3, 3)), {}, r"/layer/0: input of shape \(3, 3, 3\) found, \(1, H, W\)"),
        (FLAT, np.ones((2, 1, 5)), {}, r"/layer/1: input of shape \(5,\) found"),
        (DENSE, ONES * 0.5, {}, "input: fractions"),
        (DENSE, ONES.astype(complex), {}, "input: complex128 found"),
        (DENSE, ONES * 2.0**40, {}, "input: a number beyond 32 bits"),
        (DENSE, ONES, {"mode": "bias"}, "mode: 'bias' found, but the network has no input neurons: spikes expected"),
        (DRIVEN, ONES, {}, "mode: 'spikes' found, but the network has input neurons: bias or ain expected"),
        (DRIVEN, ONES, {"mode": "current"}, "mode: 'current' found, spikes, bias, ain expected"),
        (DRIVEN, ONES[0] * 40000, {"mode": "bias"}, r"/layer/0 \(L0_Input\): input: biases from 40000 .* 16-bit"),
        (DRIVEN, ONES * 2**24, {"mode": "ain"}, r"/layer/0 \(L0_Input\): input: a current of 2\^24"),
        (DENSE, ONES, {"record": ("w",)}, "record: w found"),
        (DENSE, ONES, {"reset_interval": 0}, "reset: interval 0"),
        (DENSE, ONES, {"skip_layers": 1}, "layers 1 to 1 asked for, but the network has 1"),
        (DENSE, ONES * 2**23, {"input_message_bits": 24}, r"/layer/0 \(L0_Dense\): dense layer of 3 inputs: sums up to"),
        (
            KEEPING,
            np.full((9, 1, 3), 2**22),
            {"input_message_bits": 24},
            r"step 3: the current left Lava's 32 bits",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_refused(network, inputs, options, message):
    with pytest.raises(UserError, match=message):
        simulate(network, inputs, 60, **options)


def test_a_run_of_no_steps_is_refused():
    with pytest.raises(UserError, match="steps: 0 found"):
        simulate(DENSE, ONES, 0)
