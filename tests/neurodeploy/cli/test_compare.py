"""`neurodeploy compare`: students of run folders, checkpoints and reports side by side, and mistakes told in one line."""

import json
import shutil

import numpy as np
import pytest
import torch

from neurodeploy.data import Digits
from neurodeploy_energy.price.deployment import deployment
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import read_report
from neurodeploy_energy.report.versus import ContestDocument


def test_the_students_of_a_run_are_compared_over_its_seeds_against_their_teacher_as_twin(cli, finished, tmp_path):
    outcome = cli("compare", finished, "--profile", "cmos45-int8", "--profile", "loihi1", "--output", tmp_path / "c")
    assert outcome.code == 0, outcome.err
    assert "change, 95 %" in outcome.out
    assert "skips the zeros of its ReLUs" in outcome.out
    document = ContestDocument.from_json((tmp_path / "c" / "comparison.json").read_text())
    assert [(model.name, model.seeds) for model in document.models] == [("baseline", 2), ("student", 2)]
    summary = json.loads((finished / "summary.json").read_text())
    for model in document.models:
        assert model.accuracy == pytest.approx(summary[model.name]["trained_accuracy"])
        assert model.accuracy_interval.low <= model.accuracy <= model.accuracy_interval.high
        assert [one.profile for one in model.energy] == ["cmos45-int8", "loihi1"]
    assert (tmp_path / "c" / "figures" / "pareto_loihi1.png").is_file()
    assert json.loads(cli("compare", finished, "--json", "--profile", "loihi1").out)["baseline"] == "baseline"


def test_checkpoints_of_one_network_are_its_seeds(cli, finished):
    places = [
        finished / f"seed-{seed}" / role / "checkpoint.safetensors" for role in ("student", "baseline") for seed in (0, 1)
    ]
    answer = json.loads(cli("compare", *places, "--baseline", "digits/baseline", "--json").out)
    assert [(model["name"], model["seeds"]) for model in answer["models"]] == [("digits/baseline", 2), ("digits/student", 2)]


def test_a_report_brings_its_baseline_and_its_accuracy(cli, finished):
    answer = json.loads(cli("compare", finished / "report.json", "--profile", "truenorth", "--json").out)
    assert [model["name"] for model in answer["models"]] == ["student", "baseline"]
    report = json.loads((finished / "report.json").read_text())
    assert answer["models"][0]["answers"] == [report["answers"]]
    found = read_report(finished / "report.json")
    expected = deployment(found, load("truenorth"), found.host).total_uj
    assert answer["models"][0]["energy"][0]["uj"] == pytest.approx(expected)


def test_counts_that_two_reports_share_are_one_seed(cli, finished, tmp_path):
    shutil.copy(finished / "report.json", tmp_path / "again.json")
    answer = json.loads(cli("compare", finished / "report.json", tmp_path / "again.json", "--json").out)
    assert [(model["name"], model["seeds"]) for model in answer["models"]] == [("student", 1), ("baseline", 1)]


def test_a_network_without_spikes_in_an_onnx_file_is_compared_as_it_is_deployed_on_a_host(cli, finished, tmp_path):
    torch.manual_seed(0)
    ann = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).eval()
    data = Digits().load()
    np.save(tmp_path / "x.npy", data.test_samples[:20].numpy())
    np.save(tmp_path / "y.npy", data.test_labels[:20].numpy())
    torch.onnx.export(
        ann,
        (data.test_samples[:1],),
        tmp_path / "ann.onnx",
        dynamo=False,
        dynamic_axes={"input": {0: "n"}},
        input_names=["input"],
    )
    bundle = finished / "seed-0" / "bundles" / "lava"
    given = ("--input", tmp_path / "x.npy", "--labels", tmp_path / "y.npy")
    outcome = cli("compare", bundle, tmp_path / "ann.onnx", *given, "--profile", "loihi1", "--json")
    assert outcome.code == 0, outcome.err
    spiking, dense = json.loads(outcome.out)["models"]
    assert dense["answers"][0]["samples"] == 20
    right = int((ann(data.test_samples[:20]).argmax(1) == data.test_labels[:20]).sum())
    assert dense["answers"][0]["correct"] == right
    assert 0 < dense["energy"][0]["uj"] < spiking["energy"][0]["uj"]
    assert spiking["energy"][0]["interval"]["over"] == "samples"
    energy = cli("energy", bundle, "--baseline", tmp_path / "ann.onnx", "--profile", "loihi1")
    assert energy.code == 0, energy.err
    assert "all on the host" not in energy.err


def test_two_runs_are_told_apart_by_their_folders(cli, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "again")
    answer = json.loads(cli("compare", finished, tmp_path / "again", "--json").out)
    assert [model["name"] for model in answer["models"]] == [
        f"{folder}/{role}" for folder in (finished.name, "again") for role in ("baseline", "student")
    ]
    assert answer["models"][2]["energy"][0]["change_percent"] == pytest.approx(0)


def test_what_is_no_run_is_refused_in_one_line(cli, finished, student, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "untrained").mkdir()
    shutil.copy(finished / "recipe.json", tmp_path / "untrained")
    for places, message in (
        ([student], "at least two models are needed"),
        ([finished, finished], "one of them occurs twice"),
        ([tmp_path / "empty"], "no recipe.json there; the folder of a run"),
        ([tmp_path / "untrained"], "no checkpoint of a student found"),
        ([tmp_path / "bad.json"], "schema_version: Field required"),
        ([tmp_path / "absent.safetensors"], "no such file; a checkpoint"),
        ([finished, "--baseline", "teacher"], "baseline 'teacher': not among the models, which are baseline, student"),
        ([finished, "--profile", "loihi2"], "no energy per operation of Loihi 2 has been published"),
    ):
        outcome = cli("compare", *places)
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
