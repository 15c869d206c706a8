"""`neurodeploy compare`: students of run folders, checkpoints and reports side by side, and mistakes told in one line."""

import json
import shutil

import pytest

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
    assert answer["models"][0]["energy"][0]["uj"] == pytest.approx(26e-6 * (report["total"]["sops"] + report["total"]["adds"]))


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
