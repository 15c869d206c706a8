"""Sigma-delta networks: messages and states are those of Lava, and events are counted, not dense products."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neurodeploy.cli.main import app
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuitfile import write_circuit
from neurodeploy_exporters.lava.graphs import chip_graph
from neurodeploy_exporters.lava.layers import (
    ConvLayer,
    CubaConstants,
    DenseLayer,
    FlattenLayer,
    InputLayer,
    SigmaDeltaConstants,
)
from neurodeploy_exporters.lava.mapping import load, map_circuit
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.sigmadelta import counted
from neurodeploy_exporters.lava.simulate import simulate

FILES = Path(__file__).parents[2] / "files" / "lava"
STATES = {"s": "s", "u": "sigma", "v": "act"}


def test_messages_and_states_are_those_of_netx():
    recorded = np.load(FILES / "netx_sdnn.npz")
    found = simulate(read(FILES / "sdnn.net"), recorded["input"][:, None], len(recorded["input"]), mode="ain")
    for key, values in found.items():
        block, what = key.rsplit("_", 1)
        if f"{block}_{STATES[what]}" not in recorded:  # a layer that only adds up has no activation
            assert not values.any()
            continue
        np.testing.assert_array_equal(values[:, 0], recorded[f"{block}_{STATES[what]}"], err_msg=key)
    assert np.abs(recorded["L1_Conv_residue"]).max() > 0  # changes are held back


def test_a_sigma_delta_file_is_read_back_as_it_was_written(tmp_path):
    network, x = small(bias=np.array([3, -4, 5])), np.random.default_rng(0).integers(-9, 9, (8, 2, 2))
    write(network, tmp_path / "a.net")
    one, other = (simulate(each, x, 9, mode="ain") for each in (network, read(tmp_path / "a.net")))
    assert one["L2_Dense_s"].any()
    for key, values in one.items():
        np.testing.assert_array_equal(values, other[key])


def test_samples_of_a_batch_do_not_see_each_other():
    x = np.load(FILES / "netx_sdnn.npz")["input"]
    both = np.stack([x, x[::-1]], axis=1)
    whole = simulate(read(FILES / "sdnn.net"), both, 20, mode="ain")
    alone = simulate(read(FILES / "sdnn.net"), both[:, 1:], 20, mode="ain")
    for key, values in alone.items():
        np.testing.assert_array_equal(whole[key][:, 1:], values)


def test_behind_a_skipped_encoder_messages_enter_as_they_are():
    """netx remembers that the input layer that it leaves out sends graded messages."""
    network, x = read(FILES / "sdnn.net"), np.load(FILES / "netx_sdnn.npz")["input"][:, None]
    whole = simulate(network, x, 16, mode="ain")
    part = simulate(network, whole["L0_Input_s"], 16, skip_layers=1)
    np.testing.assert_array_equal(part["L0_Conv_s"], whole["L1_Conv_s"])
    np.testing.assert_array_equal(part["L3_Dense_u"], whole["L4_Dense_u"])


ENCODER = SigmaDeltaConstants(0, "delta")


@settings(max_examples=30, deadline=None)
@given(threshold=st.integers(0, 40), seed=st.integers(0, 99))
def test_an_encoder_never_holds_back_more_than_its_threshold(threshold, seed):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.integers(-9, 10, (12, 2, 5)), axis=0)
    network = Network((InputLayer(shape=(5,), neuron=SigmaDeltaConstants(threshold, "delta")),))
    sent = simulate(network, x, 12, mode="ain", record=["s"])["L0_Input_s"]
    behind = 64 * x - np.cumsum(sent, axis=0)
    assert np.abs(behind).max() <= max(0, 64 * threshold - 1)
    assert ((np.abs(sent) >= 64 * threshold) | (sent == 0)).all()


def small(**changes: Any) -> Network:
    first = {"shape": (3,), "weight": np.full((3, 2), 2), "neuron": SigmaDeltaConstants(0, "sigma-delta")}
    last = DenseLayer(shape=(1,), weight=np.full((1, 3), 2), neuron=SigmaDeltaConstants(0, "sigma"))
    return Network((InputLayer(shape=(2,), neuron=ENCODER), DenseLayer(**first | changes), last))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_without_thresholds_the_last_sums_are_those_of_the_relu_network(seed):
    rng = np.random.default_rng(seed)
    weight, bias = rng.integers(-60, 61, (3, 2)) * 64, rng.integers(-99, 99, 3)
    weight = np.clip(weight, -192, 192) // 64 * 64  # whole multiples of 64: no bit of a message is cut off
    if not weight.any():
        weight[0, 0] = 64
    network, x = small(weight=weight, bias=bias), rng.integers(-99, 99, 2)
    found = simulate(network, np.broadcast_to(x, (6, 1, 2)), 6, mode="ain")
    relu = np.maximum(weight @ (64 * x) + 4096 * bias, 0)
    np.testing.assert_array_equal(found["L1_Dense_v"][-1, 0], relu)
    np.testing.assert_array_equal(found["L2_Dense_s"][-1, 0], [2 * (relu // 64).sum()])


def test_operations_are_those_of_messages_that_were_sent():
    network = read(FILES / "sdnn.net")
    x = np.load(FILES / "netx_sdnn.npz")["input"][:, None]
    found = simulate(network, x, 16, mode="ain", record=["s"])
    fired = {key.removesuffix("_s"): values for key, values in found.items()}
    numbers = {key: rest for key, *rest in counted(network.circuit(), fired, x)}
    for key, values in fired.items():
        assert numbers[key][0] == np.count_nonzero(values)
    dense = network.layers[3].weight  # type: ignore[union-attr]
    sent = (fired["L1_Conv"] != 0).reshape(16, 1, -1).sum((0, 1))
    assert numbers["L2_Dense"][1] == int(((dense != 0).sum(0) * sent).sum())
    assert numbers["L2_Dense"][2] == 16 * dense.size
    assert 0 < numbers["L1_Conv"][1] < numbers["L1_Conv"][2]


def test_the_command_line_counts_messages_and_operations(tmp_path):
    np.savez(tmp_path / "x.npz", input=np.load(FILES / "netx_sdnn.npz")["input"][:, None])
    options = ["--input", str(tmp_path / "x.npz"), "--mode", "ain"]
    result = CliRunner().invoke(app, ["simulate", str(FILES / "sdnn.net"), *options])
    assert result.exit_code == 0, result.output
    assert "messages" in result.output
    assert "operations" in result.output


def test_a_sigma_delta_network_is_mapped():
    mapping = map_circuit(read(FILES / "sdnn.net").circuit(), load("loihi2"))
    assert [len(population.cores) for population in mapping.placed] == [1] * 5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layer/1/neuron/activation", b"tanh", "/layer/1/neuron/activation: 'tanh' found, 'relu' expected"),
        ("layer/1/neuron/messageBits", 8, "/layer/1/neuron/messageBits: 8 found, 16 expected"),
        ("layer/1/neuron/iDecay", 8, "/layer/1/neuron/iDecay: found; only"),
        ("layer/5/neuron/sigma_output", False, "/layer/5/neuron/sigma_output: 0 found, which netx takes for 1"),
        ("layer/5/bias", np.ones(3), "/layer/5/bias: found on neurons that only add up"),
        ("layer/3/neuron/sigma_output", True, "/layer/3/bias: found on neurons that only add up"),
        ("layer/1/neuron/vThMant", 1 << 19, "/layer/1/neuron/vThMant: 524288 found"),
        ("layer/1/neuron/vThMant", [1, 2, 3, 4], r"/layer/1/neuron/vThMant: shape \(4,\) found, one number"),
        ("layer/3/delay", 2, "delay, weight_rec: found with sigma-delta neurons"),
    ],
)
def test_what_netx_does_not_compute_so_is_refused_by_its_place(tmp_path, key, value, message):
    path = tmp_path / "a.net"
    path.write_bytes((FILES / "sdnn.net").read_bytes())
    with h5py.File(path, "r+") as file:
        if key in file:
            del file[key]
        file[key] = value
    with pytest.raises(UserError, match=message):
        read(path)


def test_neurons_of_both_kinds_are_refused():
    with pytest.raises(UserError, match="/layer/1/neuron: neurons of both kinds, CUBA and SDNN, found in one file"):
        small(neuron=CubaConstants(4096, 0, 1))


def test_a_layer_that_only_adds_up_is_the_last_one():
    with pytest.raises(UserError, match="/layer/1/neuron/sigma_output: found on a layer that another one reads"):
        small(neuron=SigmaDeltaConstants(0, "sigma"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "ain", "reset_interval": 3}, "reset: found with sigma-delta neurons, which Lava does not reset"),
        ({"mode": "bias"}, "mode: 'bias' found with delta encoders, whose input is a current: ain expected"),
    ],
)
def test_what_sigma_delta_neurons_have_not_is_refused(options, message):
    x = np.ones((1, 2) if options["mode"] == "bias" else (3, 1, 2), np.int64)
    with pytest.raises(UserError, match=message):
        simulate(small(), x, 3, **options)


def test_a_state_beyond_32_bits_is_refused_by_its_layer():
    with pytest.raises(UserError, match=r"/layer/0 \(L0_Input\): step 1: a state left Lava's 32 bits"):
        simulate(small(), np.full((3, 1, 2), 1 << 20), 3, mode="ain")


@pytest.mark.parametrize("use", [lambda c: run_sequence(c, np.ones((3, 1, 2))), chip_graph])
def test_what_needs_spikes_refuses_graded_messages_by_the_population(use):
    layers = (InputLayer(shape=(2,)), *small().layers[1:])
    with pytest.raises(UserError, match="population L0_Dense: sigma-delta neurons, whose messages are graded"):
        use(Network(layers).circuit())


def test_a_circuit_file_holds_no_sigma_delta_neurons(tmp_path):
    with pytest.raises(UserError, match="population L0_Input: sigma-delta neurons"):
        write_circuit(small().circuit(), tmp_path / "a.circuit")


def test_convolutions_of_messages_wrap_at_24_bits_as_those_of_spikes_do():
    layer = ConvLayer(shape=(1, 1, 1), weight=np.full((1, 1, 1, 1), 254), neuron=SigmaDeltaConstants(0, "sigma-delta"))
    network = Network((InputLayer(shape=(1, 1, 1), neuron=ENCODER), layer, FlattenLayer()))
    x = np.full((2, 1, 1, 1, 1), 600)
    found = simulate(network, x, 3, mode="ain")["L1_Conv_u"][:, 0, 0, 0, 0]
    total = 254 * 600 * 64
    assert found.tolist() == [0, (total + (1 << 23)) % (1 << 24) - (1 << 23), (total + (1 << 23)) % (1 << 24) - (1 << 23)]
