"""The comparison of ONNX Runtime's versions finds what differs; here with the one that is installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from checks import onnx_versions
from checks.onnx_versions import sound, table_of

SCRIPT = Path(onnx_versions.__file__).with_name("onnx_replay.py")


@pytest.fixture
def cases(tmp_path, small_named) -> Path:
    """Every form and kind of one network."""
    torch.manual_seed(0)
    graph = onnx_versions.firing(small_named("conv"), "CUBA", "soft")
    for kind in ("none", "exact", "int8"):
        for form, case in onnx_versions.cases_of(graph, kind):
            onnx_versions.write(tmp_path / f"{kind}-{form}", case)
    return tmp_path


def replayed(folder: Path) -> dict:
    ended = subprocess.run([sys.executable, SCRIPT, folder], check=True, capture_output=True, text=True)
    return json.loads(ended.stdout)


def test_sound_models_are_found_sound_in_every_form(cases):
    result = replayed(cases)
    assert sound(result)
    assert result["failures"] == []
    assert [result["found"][kind]["models"] for kind in ("none", "exact", "int8")] == [3, 3, 3]
    assert result["found"]["exact"]["wrong"] == 0
    assert table_of([result]).row_count == 1


def test_one_other_spike_of_an_exact_model_is_found(cases):
    with np.load(cases / "exact-streaming.npz") as file:
        arrays = dict(file)
    layer = next(name for name in arrays if name.startswith("spikes/"))
    arrays[layer].flat[-1] ^= 1
    np.savez(cases / "exact-streaming.npz", **arrays)
    result = replayed(cases)
    assert result["found"]["exact"]["wrong"] == 1
    assert not sound(result)


def test_a_model_that_does_not_load_is_found(cases):
    (cases / "none-whole-0.onnx").write_bytes(b"no model")
    result = replayed(cases)
    assert [failure.partition(":")[0] for failure in result["failures"]] == ["none-whole"]
    assert not sound(result)
