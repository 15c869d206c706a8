"""The comparison behind `make kills` sees every difference but that of time."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from checks.differences import differences
from neurodeploy.training.metrics import CURVES, METRICS, Metrics

VALUES = {"loss": 0.5, "terms": {"cross-entropy": 0.4}}
HEADER = {"neurodeploy": json.dumps({"epoch": 2})}
CHECKPOINT = "checkpoint.safetensors"


@pytest.fixture
def pair(tmp_path):
    """Two folders of the same training, at different speeds."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    save_file({"network/weight": torch.tensor([0.0, 1.5]), "optimizer/step": torch.tensor(3.0)}, one / CHECKPOINT, HEADER)
    shutil.copytree(one, other)
    for folder, seconds in ((one, 1.0), (other, 9.0)):
        metrics = Metrics(folder, 0)
        for epoch in (1, 2):
            metrics.write(epoch, VALUES | {"seconds": seconds})
    return one, other


def rewrite(path, change) -> None:
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    change(tensors)
    save_file(tensors, path, HEADER)


def test_folders_that_differ_only_in_time_are_the_same(pair):
    assert differences(*pair) == []


def test_the_sign_of_a_zero_is_a_difference(pair):
    rewrite(pair[1] / CHECKPOINT, lambda tensors: tensors["network/weight"][0].neg_())
    assert differences(*pair) == [f"{CHECKPOINT}: tensor network/weight differs"]


def test_a_missing_tensor_and_another_header_are_differences(pair):
    save_file({"network/weight": torch.tensor([0.0, 1.5])}, pair[1] / CHECKPOINT, {"neurodeploy": "{}"})
    assert differences(*pair) == [f"{CHECKPOINT}: another header", f"{CHECKPOINT}: other tensors"]


def test_a_missing_file_one_left_over_and_another_content_are_differences(pair):
    one, other = pair
    (one / "recipe.json").write_text("{}")
    (other / ".checkpoint.safetensors.part-x").touch()
    assert differences(*pair) == ["recipe.json: missing", ".checkpoint.safetensors.part-x: left over"]
    (other / ".checkpoint.safetensors.part-x").unlink()
    (other / "recipe.json").write_text("{ }")
    assert differences(*pair) == ["recipe.json: other content"]


def test_an_epoch_written_twice_is_a_difference_in_metrics_and_curves(pair):
    Metrics(pair[1], 2).write(2, VALUES)
    assert differences(*pair) == [f"{CURVES}: 4 records, 3 expected", f"{METRICS}: 3 records, 2 expected"]


def test_a_record_that_was_cut_off_is_a_difference(pair):
    path = pair[1] / CURVES
    path.write_bytes(path.read_bytes()[:-3])
    assert differences(*pair) == [f"{CURVES}: record 3 differs"]


def test_another_value_is_a_difference(pair):
    path = pair[1] / METRICS
    path.write_text(path.read_text().replace("0.4", "0.4000000001", 1))
    assert differences(*pair) == [f"{METRICS}: record 1 differs"]
