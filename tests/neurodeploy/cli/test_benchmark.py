"""`neurodeploy benchmark`: what a user sees, and what is refused."""

import json
import sys

import numpy as np
import pytest

from neurodeploy.app.benchmark import outcome as outcome_module

MODULE = """
import numpy as np
import torch
from torch import nn

import neurodeploy as nd


def make():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    return nd.spiking(ann, torch.from_numpy(np.load("x.npy")), steps=3)
"""


@pytest.fixture
def own_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_benchmarked.py").write_text(MODULE)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", (rng.integers(0, 257, (20, 6)) / 256).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 3, 20))
    yield tmp_path
    sys.modules.pop("own_benchmarked", None)


def test_a_checkpoint_in_every_format_as_table_page_and_json(cli, student, tmp_path):
    outcome = cli("benchmark", student, "--samples", 4, "--seconds", 0.5, "--output", tmp_path, "--json")
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    assert {row["target"] for row in document["rows"]} == {"", "c", "lava", "nir", "onnx"}
    assert document["samples"] == 4
    exact = [row for row in document["rows"] if (row["target"], row["variant"]) == ("onnx", "exact")]
    assert len({row["spikes"]["count"] for row in exact}) == 1
    assert all(row["spikes"]["from_first"] == 0 for row in exact)
    lava = next(row for row in document["rows"] if row["target"] == "lava")
    assert lava["fit"]["verdict"] == "fits"
    assert lava["energy"]["profiles"] == ["loihi1", "cmos45-fp32+lemaire"]
    for row in document["rows"]:
        empty = [key for key in ("accuracy", "spikes", "bytes", "energy", "fit") if row[key] is None]
        assert {*empty} <= row["why"].keys()
    assert json.loads((tmp_path / "benchmark.json").read_text()) == document
    assert "<h1>Benchmark of" in (tmp_path / "benchmark.html").read_text()


@pytest.mark.usefixtures("own_network")
def test_a_module_with_samples_and_labels_of_files(cli):
    arguments = ("own_benchmarked:make", "--input", "x.npy", "--labels", "y.npy", "--targets", "onnx", "--seconds", 0.5)
    outcome = cli("benchmark", *arguments, "--quantize", "exact", "--samples", 8)
    assert outcome.code == 0, outcome.err
    assert "onnx, exact" in outcome.out
    assert "float32" not in outcome.out
    assert "(1) " in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.safetensors",), "absent.safetensors"),
        (("broken.nir", "--input", "x.npy"), "broken.nir"),
        (("own_benchmarked:make",), "--input"),
        (("own_benchmarked:make", "--input", "x.npy", "--targets", "tpu"), "target 'tpu'"),
        (("own_benchmarked:make", "--input", "x.npy", "--targets", "nir", "--scales", "channel"), "add the target lava"),
        (("own_benchmarked:make", "--input", "x.npy", "--host-profile", "loihi1"), "computes densely"),
        (("own_benchmarked:make", "--input", "x.npy", "--reset", "soft"), "--reset"),
        (("own_benchmarked:make", "--input", "x.npy", "--samples", 0), "--samples"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(cli, own_network, arguments, words):
    (own_network / "broken.nir").write_bytes(b"no such file format")
    outcome = cli("benchmark", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_ctrl_c_ends_it_and_writes_nothing(cli, own_network, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outcome_module, "ask", interrupted)
    found = cli("benchmark", "own_benchmarked:make", "--input", "x.npy", "--targets", "nir", "--output", "made")
    assert found.code == 130
    assert "interrupted" in found.err
    assert not (own_network / "made").exists()
