"""Recordings of other frameworks' networks can be believed: they fire as trained networks do, and by the equations stated."""

from pathlib import Path

import numpy as np
import pytest

from checks.foreign.equations import fired
from checks.foreign.recorded import read

FILES = Path(__file__).parents[1] / "files" / "foreign"
NAMES = sorted(path.stem for path in FILES.glob("*.npz"))
FRAMEWORKS = ("SpikingJelly", "snnTorch", "Norse", "sinabs", "SLAYER (lava-dl)", "Plain torch")
MULTIPLE = ("sinabs", "loops-levels")  # whose neurons may fire several times per step


def test_every_framework_has_recordings():
    frameworks = [read(FILES / f"{name}.npz").framework["name"] for name in NAMES]
    assert all(frameworks.count(framework) >= 5 for framework in FRAMEWORKS)


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_small_and_every_layer_fires_as_a_trained_one(name):
    recorded = read(FILES / f"{name}.npz")
    assert (FILES / f"{name}.npz").stat().st_size <= 40_000
    assert recorded.name == name
    for spikes in recorded.spikes.values():
        assert spikes.shape[0] == recorded.steps
        assert 0.05 <= spikes.mean() <= 0.30
        assert spikes.max() == 1 or name.startswith(MULTIPLE)
        assert not np.array_equal(spikes[:, 0], spikes[:, 1])  # samples are told apart


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("loops-")])
def test_every_spike_follows_from_what_its_neuron_was_given(name):
    recorded = read(FILES / f"{name}.npz")
    for layer, spikes in recorded.spikes.items():
        neuron = recorded.layers[layer]
        assert neuron.given is not None
        assert np.array_equal(fired(neuron.kind, neuron.given, neuron.constants, neuron.weights), spikes)


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_inputs_are_on_a_grid_on_which_sums_are_exact(name):
    recorded = read(FILES / f"{name}.npz")
    assert np.array_equal(recorded.inputs * 16, np.rint(recorded.inputs * 16))
    for values in recorded.weights.values():
        if values.ndim > 1:
            assert np.array_equal(values * 256, np.rint(values * 256))


def test_the_input_of_a_linear_layer_and_the_answer_of_the_layer_before_it_are_one():
    recorded = read(FILES / "snntorch-hidden.npz")
    assert [(layer.kind, layer.reads) for layer in recorded.layers.values()] == [
        ("Linear", "input"), ("Leaky", "0"), ("Linear", "1"), ("Leaky", "2"),
    ]  # fmt: skip
    currents = recorded.inputs @ recorded.weights["0.weight"].T + recorded.weights["0.bias"]
    np.testing.assert_array_equal(recorded.layers["1"].given, currents)


def test_a_file_of_another_format_is_refused_with_both_formats(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, description=np.array('{"format": 1}'))
    with pytest.raises(ValueError, match="format 1 found, 2 expected"):
        read(path)
