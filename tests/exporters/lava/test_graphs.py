"""A `.net` file as a model: what it fires is what the chip fires, wherever it is run; in floats only its rounding is lost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from neurodeploy.app.model import load_model
from neurodeploy.cli.main import app
from neurodeploy.graph import interpreter
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Matrix, Population, Synapse
from neurodeploy_exporters.lava.graphs import check, chip_graph, differing, float_graph
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.netfile import write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.pipeline import run_sequence


def network(
    seed: int, *, decays: tuple[int, int] = (819, 1024), per_channel: bool = False, delay: Any = 0, bias: bool = True
) -> Network:
    rng = np.random.default_rng(seed)

    def neuron(channels: int) -> CubaConstants:
        return CubaConstants(*decays, rng.integers(20, 200, channels) if per_channel else 60)

    return Network(
        (
            InputLayer(shape=(2, 4, 4)),
            ConvLayer(
                shape=(3, 4, 4),
                weight=rng.integers(-20, 30, (3, 2, 3, 3)) * 2,
                padding=(1, 1),
                neuron=neuron(3),
                bias=rng.integers(-9, 9, 3) if bias else None,
            ),
            FlattenLayer(),
            DenseLayer(shape=(5,), weight=rng.integers(-20, 30, (5, 48)) * 2, delay=delay, neuron=neuron(5)),
        )
    )


def spikes(seed: int, *shape: int) -> Any:
    return (np.random.default_rng(seed).random((9, 3, *shape)) < 0.4).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    i_decay=st.sampled_from([4096, 819, 0]),
    v_decay=st.sampled_from([4096, 1024, 37]),
    per_channel=st.booleans(),
    late=st.booleans(),
    seed=st.integers(0, 99),
)
def test_interpreter_torch_and_simulator_fire_alike(i_decay, v_decay, per_channel, late, seed):
    delay = np.random.default_rng(seed).integers(0, 3, (5, 48)) if late else 0
    made = network(seed, decays=(i_decay, v_decay), per_channel=per_channel, delay=delay, bias=not late)
    circuit, x = made.circuit(), spikes(seed, 2, 4, 4)
    graph = chip_graph(circuit)
    run = interpreter.run(graph, x)
    for key, fired in run_sequence(circuit, x).spikes.items():
        np.testing.assert_array_equal(fired, run[key])
    from neurodeploy.graph.module import GraphModule

    answer = GraphModule(graph)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answer, run["output"], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(per_channel=st.booleans(), kept=st.booleans(), seed=st.integers(0, 99))
def test_in_floats_nothing_differs_where_no_decay_rounds(per_channel, kept, seed):
    """Halves of multiples of 64 stay whole for six steps."""
    circuit = network(seed, decays=(2048 if kept else 4096, 4096), per_channel=per_channel).circuit()
    wrong, total = differing(chip_graph(circuit), float_graph(circuit), spikes(seed, 2, 4, 4)[:6])
    assert total == 6 * 3 * (48 + 5)
    assert wrong == 0


FIRST = Population(key="a", shape=(3,), neuron=CubaConstants(4096, 4096, 5))
SECOND = replace(FIRST, key="b")
EYE = Matrix(weight=2 * np.eye(3, dtype=np.int64))
ENTRY, ON = Synapse(source=INPUT, target=0, connection=EYE), Synapse(source=0, target=1, connection=EYE)


def circuit(*synapses: Synapse, first: Population = FIRST, second: Population = SECOND) -> Circuit:
    return Circuit(input_shape=(3,), populations=(first, second), synapses=synapses)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            circuit(ENTRY, ON, Synapse(source=INPUT, target=1, connection=EYE)),
            "population b: spikes 1 steps before those of the longest",
        ),
        (circuit(ENTRY, Synapse(source=INPUT, target=1, connection=EYE)), "populations a, b: read by no other, one expected"),
    ],
)
def test_what_a_graph_cannot_hold_is_refused_by_its_population(made, message):
    with pytest.raises(UserError, match=message):
        chip_graph(made)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (
            replace(FIRST, neuron=CubaConstants(4096, np.array([1, 2, 3]), 5)),
            "population a: vDecay from 1 to 3, one for all channels",
        ),
        (replace(FIRST, neuron=CubaConstants(4096, 4096, 0)), "population a: a threshold of 0"),
        (
            replace(FIRST, neuron=CubaConstants(2048, 4096, 5), bias=np.array([1, 0, 0]), recurrent=EYE.weight),
            "population a: a bias beside a current with a memory, which recurrent synapses feed too",
        ),
    ],
)
def test_what_has_no_form_in_floats_is_refused_by_its_population(first, message):
    chip_graph(replace(circuit(ENTRY, ON), populations=(first, SECOND))) if "vDecay" in message else None
    with pytest.raises(UserError, match=message):
        float_graph(circuit(ENTRY, ON, first=first))


@pytest.fixture
def path(tmp_path) -> Path:
    write(network(0), tmp_path / "a.net")
    np.save(tmp_path / "x.npy", np.moveaxis(spikes(1, 2, 4, 4), 0, 1))
    return tmp_path / "a.net"


def test_a_net_file_is_loaded_as_a_model_in_the_chips_integers(path):
    model = load_model(path)
    x = spikes(1, 2, 4, 4)
    answer = model.module(torch.from_numpy(np.moveaxis(x, 0, 1))).numpy()
    fired = run_sequence(network(0).circuit(), x).spikes["L1_Dense"]
    np.testing.assert_allclose(answer, fired.mean(0), atol=1e-6)
    assert "runs in the chip's integers" in str(model)


@pytest.mark.parametrize("target", ["nir", "onnx"])
def test_a_net_file_is_exported_and_says_how_many_spikes_differ_in_floats(path, target):
    options = ["--input", str(path.parent / "x.npy"), "--target", target, "--output", str(path.parent / "out")]
    result = CliRunner().invoke(app, ["export", str(path), *options])
    assert result.exit_code == 0, result.output
    assert "spikes of the sample differ between the chip's integers and floats" in result.output.replace("\n", " ")
    assert CliRunner().invoke(app, ["verify", str(path.parent / "out" / target)]).exit_code == 0


def test_the_energy_of_a_net_file_is_counted_from_its_spikes(path):
    result = CliRunner().invoke(app, ["energy", str(path), "--input", str(path.parent / "x.npy"), "--json"])
    assert result.exit_code == 0, result.output
    fired = run_sequence(network(0).circuit(), spikes(1, 2, 4, 4)).spikes
    import json

    layers = {layer["name"]: layer for layer in json.loads(result.stdout)["layers"]}
    for key, found in fired.items():
        assert layers[key]["spikes"] == pytest.approx(found.sum() / 3)


def test_conventions_of_nir_files_are_refused_for_a_net_file(path):
    result = CliRunner().invoke(app, ["energy", str(path), "--input", str(path.parent / "x.npy"), "--dt", "1"])
    assert result.exit_code != 0
    assert "leave out --written-by, --dt and --reset" in str(result.exception)


def test_a_net_file_is_verified_by_the_chips_ranges_and_two_simulations(path):
    found = check(path)
    assert found.passed
    assert found.compared == 12 * 4 * 53
    assert CliRunner().invoke(app, ["verify", str(path)]).exit_code == 0
    import h5py

    with h5py.File(path, "r+") as file:
        file["layer/1/weight"][0, 0, 0, 0] = 7
    result = CliRunner().invoke(app, ["verify", str(path)])
    assert result.exit_code == 1
    assert "odd value 7 found" in result.output
