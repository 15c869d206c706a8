from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from neurodeploy.app import targets
from neurodeploy.data import Digits
from neurodeploy.io.errors import UserError


def test_the_targets_of_this_package_are_installed_and_load():
    assert targets.names() == ("lava", "nir", "onnx")
    for name in targets.names():
        assert targets.find(name).__module__ == f"neurodeploy_exporters.{name}.export"


def test_further_arguments_go_to_the_targets_that_take_them():
    found = {name: targets.find(name) for name in targets.names()}
    options = targets.further_options(found, calibration=np.zeros((2, 3)), head_cut="last-synapse", streaming=True)
    assert set(options["onnx"]) == {"calibration", "streaming", "spike_counts", "encoding"}
    assert set(options["lava"]) == {"calibration", "head_cut", "encoding"}
    assert options["onnx"]["streaming"]
    assert options["lava"]["head_cut"] == "last-synapse"


def test_a_head_cut_that_no_target_can_make_is_refused():
    with pytest.raises(UserError, match='head cut "last-synapse": no chip among the targets onnx'):
        targets.further_options({"onnx": targets.find("onnx")}, head_cut="last-synapse")


@pytest.mark.parametrize("option", ["streaming", "spike_counts"])
def test_streaming_and_counts_that_no_target_can_give_are_refused(option):
    with pytest.raises(UserError, match=rf"{option.replace('_', ' ')}: the target onnx alone can .*, lava found"):
        targets.further_options({"lava": targets.find("lava")}, **{option: True})


def test_calibration_inputs_are_spread_over_the_training_set():
    data = Digits().load()
    inputs = targets.calibration_inputs(data, 64)
    assert inputs.shape == (64, 1, 8, 8)
    assert np.array_equal(inputs, data.train_samples[:: len(data.train_labels) // 64][:64].numpy())
    assert targets.calibration_inputs(data, 0) is None
    assert len(targets.calibration_inputs(data, 10**6)) == len(data.train_labels)


def test_an_unknown_target_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="target 'abacus': not known; there are: lava, nir, onnx"):
        targets.find("abacus")


def test_another_package_can_add_a_target(monkeypatch):
    added = EntryPoints([EntryPoint("mine", "json:dumps", targets.GROUP)])
    monkeypatch.setattr(targets, "entry_points", lambda **wanted: added.select(**wanted))
    assert targets.names() == ("mine",)
    assert targets.find("mine").__name__ == "dumps"
