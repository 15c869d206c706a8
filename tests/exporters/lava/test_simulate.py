"""The simulator against recorded runs of Intel's Lava, bit for bit, and against its own plain restatement."""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurodeploy.dynamics.neurons import CubaParameters, cuba_step
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava import engine
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import simulate, simulate_circuit

simulate_module = sys.modules[simulate.__module__]

PLAIN = CubaConstants(4096, 0, 10)
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


# What netx changes on reading, the reader refuses: the layers of g12 from the first, with the first value that is refused.
QUIRKS = (
    "/layer/0/weight: 300 found, -256 to 254 expected",  # netx clips mixed weights
    r"/layer/0/weight \(all negative\): -256 found, -255 to -1 expected",  # netx makes −254 of it
    r"/layer/0/weight: -15\.58\d* found, whole numbers expected",  # netx cuts off fractions
    "/layer/0/delay: found on a recurrent layer, where netx rescales the sums",  # by the power of two that fills 8 bits
)


def last_layers(path: Path, first: int, to: Path) -> Path:
    """The file without its first layers, and without a refractory time in the next one."""
    with h5py.File(path) as original, h5py.File(to, "w") as file:
        for position, layer in enumerate(range(first, 6)):
            original.copy(f"layer/{layer}", file, f"layer/{position}")
        if "layer/0/neuron/refDelay" in file:
            file["layer/0/neuron/refDelay"][()] = 1
    return to


@pytest.mark.parametrize("first", range(4))
def test_values_that_netx_would_change_on_reading_are_refused_rather_than_changed(recorded, tmp_path, first):
    with pytest.raises(UserError, match=QUIRKS[first]):
        read(last_layers(recorded("g12").network, first, tmp_path / "a.net"))


def test_a_refractory_time_is_refused_where_lava_ignores_it(recorded):
    with pytest.raises(UserError, match="/layer/0/neuron/refDelay: 5 found, 1 expected; Lava ignores any other value"):
        read(recorded("g12").network)


def test_the_other_quirks_of_the_same_file_are_computed_as_lava_does(recorded, tmp_path):
    case = recorded("g12")  # weights that are negative or 0; a layer without neurons, which integrates
    network = read(last_layers(case.network, 4, tmp_path / "a.net"))
    computed = simulate(network, case.expected["L3_RecurrentDense_s"], case.settings["steps"])
    for block in (0, 1):
        for what in "suv":
            np.testing.assert_array_equal(computed[f"L{block}_Dense_{what}"], case.expected[f"L{block + 4}_Dense_{what}"])


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


def test_autocast_does_not_reach_the_sums():
    rng = np.random.default_rng(1)
    layer = ConvLayer(shape=(3, 4, 4), weight=2 * rng.integers(-120, 120, (3, 9, 3, 3)) + 1, neuron=PLAIN)
    inputs = rng.integers(0, 2, (4, 2, 9, 6, 6))
    expected = simulate(Network((layer,)), inputs, 4)
    with torch.autocast("cpu", torch.bfloat16):
        computed = simulate(Network((layer,)), inputs, 4)
    for key in expected:
        np.testing.assert_array_equal(computed[key], expected[key], err_msg=key)


def test_a_network_that_begins_with_flatten_takes_samples_of_any_shape():
    inputs = np.random.default_rng(2).integers(0, 2, (3, 2, 2, 2))
    flat = Network(FLAT.layers[1:])
    for key, values in simulate(flat, inputs.reshape(3, 2, 4), 3).items():
        np.testing.assert_array_equal(simulate(FLAT, inputs, 3)[key], values, err_msg=key)


def test_sums_beyond_float32_are_still_exact():
    rng = np.random.default_rng(5)
    weight = rng.integers(-128, 127, (3, 4)) * 2
    network = Network((DenseLayer(shape=(3,), weight=weight, neuron=CubaConstants(4096, 4096, 10)),))
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
KEEPING = Network((DenseLayer(shape=(2,), weight=np.full((2, 3), 2), neuron=CubaConstants(0, 0, 1)),))
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
        (DENSE, ONES * 0.5, {}, r"input: 0.5 at \[0, 0, 0\] found, whole numbers expected"),
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


# --- circuits ----------------------------------------------------------------------------------------------------------


def plain(circuit: Circuit, inputs: np.ndarray, steps: int, resets: dict[int, set[int]], mode: str) -> dict[str, np.ndarray]:
    """The rules once more, step by step over all populations, with `cuba_step`."""
    fired: dict[int, list[np.ndarray]] = {i: [] for i in range(len(circuit.populations))}
    fired[INPUT] = list(inputs)
    states = [(np.zeros((inputs.shape[1], *population.shape), np.int64),) * 2 for population in circuit.populations]
    kept: dict[str, list[np.ndarray]] = {f"{p.key}_{what}": [] for p in circuit.populations for what in "suv"}
    for step in range(steps):
        for index, population in enumerate(circuit.populations):
            u, v = states[index]
            a = np.zeros_like(u)
            for synapse in circuit.into(index):
                a += arriving(synapse, fired[synapse.source], step, population.shape)
            if population.recurrent is not None and step:
                a += fired[index][-1] @ population.recurrent.T
            bias: Any = 0 if population.bias is None else channels(population.bias, population.shape)
            if index == 0 and mode != "spikes":
                a, bias = (inputs[step], 0) if mode == "ain" else (a, inputs[0])
            neuron = population.neuron
            decays = (channels(decay, population.shape) for decay in (neuron.i_decay, neuron.v_decay))
            if step in resets.get(index, ()):
                u, v = np.zeros_like(u), np.zeros_like(v)
            s, u, v = cuba_step(u, v, a, CubaParameters(*decays, neuron.threshold, bias))
            states[index] = (u, v)
            fired[index].append(s.astype(np.int64))
            for what, value in (("s", s), ("u", u), ("v", v)):
                kept[f"{population.key}_{what}"].append(value)
    return {key: np.stack(values) for key, values in kept.items()}


def arriving(synapse: Synapse, sent: list[np.ndarray], step: int, shape: tuple[int, ...]) -> np.ndarray:
    connection, then = synapse.connection, step - 1 - synapse.delay
    batch = sent[0].shape[0] if sent else 1
    if isinstance(connection, Convolution):
        if not 0 <= then < len(sent):
            return np.zeros((batch, *shape), np.int64)
        x, weight = torch.tensor(sent[then]).double(), torch.tensor(connection.weight).double()
        geometry = (connection.stride, connection.padding, connection.dilation, connection.groups)
        return functional.conv2d(x, weight, None, *geometry).long().numpy()
    total = np.zeros((batch, *shape), np.int64)
    for delay in range(6):
        weight = np.where(np.asarray(connection.delay) == delay, connection.weight, 0)
        if 0 <= then - delay < len(sent):
            total += sent[then - delay].reshape(batch, -1) @ weight.T
    return total


def channels(constant: Any, shape: tuple[int, ...]) -> Any:
    return constant[:, None, None] if np.ndim(constant) == 1 and len(shape) == 3 else constant


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    steps=st.integers(1, 12),
    batch=st.integers(1, 4),
    threads=st.integers(1, 3),
    block=st.sampled_from([1, 64, 1 << 21]),
    data=st.data(),
)
def test_a_circuit_gives_what_its_rules_give_step_by_step(random_circuit, seed, steps, batch, threads, block, data):
    circuit, rng = random_circuit(seed), np.random.default_rng(seed)
    mode = data.draw(st.sampled_from(["bias", "ain"] if circuit.has_input_neurons else ["spikes"]))
    inputs = rng.integers(0, 2, (steps, batch, *circuit.input_shape)) * (1 if mode == "spikes" else rng.integers(1, 400))
    interval, offset = data.draw(st.one_of(st.none(), st.integers(1, 8))), data.draw(st.integers(0, 3))
    first = min(circuit.depths)  # a chain counts its blocks from 0
    resets = {
        index: {k for k in range(steps) if interval and (k + 1) % interval == (offset + 1 + depth - first) % interval}
        for index, depth in enumerate(circuit.depths)
    }
    expected = plain(circuit, inputs, steps, resets, mode)
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_BLOCK", block)
        patch.setattr(engine, "_VECTOR", block)
        patch.setattr(simulate_module, "_SHARE", 1)
        torch.set_num_threads(threads)
        try:
            found = simulate_circuit(
                circuit,
                inputs[0] if mode == "bias" else inputs,
                steps,
                mode=mode,
                reset_interval=interval,
                reset_offset=offset,
            )
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
    assert set(found) == set(expected)
    for key, values in expected.items():
        assert found[key].shape == values.shape
        np.testing.assert_array_equal(found[key], values, err_msg=key)


def branching() -> Circuit:
    """Two ways from the input to population c: over a and b, and directly, with the delay that lines them up."""
    eye = Matrix(weight=2 * np.eye(2, dtype=np.int64))
    return Circuit(
        input_shape=(2,),
        populations=tuple(Population(key=key, shape=(2,), neuron=CubaConstants(4096, 0, 1)) for key in "abc"),
        synapses=(
            Synapse(source=INPUT, target=0, connection=eye),
            Synapse(source=0, target=1, connection=eye),
            Synapse(source=1, target=2, connection=eye),
            Synapse(source=INPUT, target=2, connection=eye, delay=2),
        ),
    )


def test_the_short_way_meets_the_long_one_in_the_step_of_the_longest():
    found = simulate_circuit(branching(), np.ones((1, 1, 2)), 6, record=("u",))
    for key, step, value in (("a", 1, 128), ("b", 2, 128), ("c", 3, 256)):
        np.testing.assert_array_equal(found[f"{key}_u"][:, 0, 0], np.eye(6)[step] * value)


def test_errors_of_a_circuit_name_its_population():
    circuit = Circuit(
        input_shape=(2,),
        populations=(Population(key="a", shape=(2,), neuron=CubaConstants(0, 0, 1)),),
        synapses=(Synapse(source=INPUT, target=0, connection=Matrix(weight=np.full((2, 2), 2))),),
    )
    with pytest.raises(UserError, match=r"/population/0 \(a\): dense layer of 2 inputs: sums up to"):
        simulate_circuit(circuit, np.full((2, 1, 2), 1 << 24), 3, input_message_bits=24)
    with pytest.raises(UserError, match=r"input: samples of shape \(3,\) found, \(2,\) expected"):
        simulate_circuit(circuit, np.ones((2, 1, 3)), 3)


def test_a_convolution_with_a_delay_whose_sums_might_wrap_is_refused():
    skip = {"from_layer": -1, "to_layer": 0, "weight": np.full((1, 1, 1, 1), 2), "delay": 1}
    network = Network((ConvLayer(shape=(1, 2, 2), weight=np.full((1, 1, 1, 1), 2), neuron=PLAIN),))
    inputs = np.full((2, 1, 1, 2, 2), 1 << 22)
    with pytest.raises(UserError, match=r"/layer/0 \(L0_Conv\): convolution with a delay: sums up to 8388608 are possible"):
        simulate(network, inputs, 3, input_message_bits=24, skips=[skip])
    simulate(network, inputs // 2, 3, input_message_bits=24, skips=[skip])


def test_the_shape_of_the_input_can_be_given_where_the_file_does_not_tell():
    flat = np.ones((2, 1, 3, 3), np.int64)
    found = simulate(CONV, flat[:, :, None], 3, input_shape=(1, 3, 3))
    np.testing.assert_array_equal(found["L0_Conv_u"][1], np.full((1, 1, 2, 2), 512))
    with pytest.raises(UserError, match=r"input: samples of shape \(3, 3\) found, \(1, 3, 3\) expected"):
        simulate(CONV, flat, 3, input_shape=(1, 3, 3))


def test_a_large_batch_runs_in_parts_of_bounded_memory(monkeypatch):
    rng = np.random.default_rng(0)
    network = Network((DenseLayer(shape=(2,), weight=np.array([[2, 4, -6], [8, -2, 2]]), neuron=CubaConstants(7, 900, 3)),))
    inputs = rng.integers(0, 2, (9, 23, 3))
    whole = simulate(network, inputs, 9)
    parts, run = [], simulate_module._Job.__call__

    def call(job, samples):
        parts.append(samples.stop - samples.start)
        run(job, samples)

    monkeypatch.setattr(simulate_module._Job, "__call__", call)
    monkeypatch.setattr(simulate_module, "_CHUNK", 90)
    for key, values in simulate(network, inputs, 9).items():
        np.testing.assert_array_equal(values, whole[key], err_msg=key)
    assert sum(parts) == 23
    assert max(parts) == 5
