"""`neurodeploy energy`: chip and host apart, the teacher as twin, memory, joules where there is a counter."""

import json

import numpy as np
import pytest

from neurodeploy_energy.price.joules import Unmeasured
from neurodeploy_energy.report import read_report


def test_repact_s_work_on_the_host_is_a_line_of_its_own(cli, finished, student, tmp_path):
    baseline = finished / "seed-0" / "baseline" / "checkpoint.safetensors"
    outcome = cli("energy", student, "--baseline", baseline, "--profile", "loihi1", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "head on the host, MACs" in outcome.out
    assert "accuracy, %" in outcome.out
    assert [one["answers"]["samples"] for one in _both(tmp_path)] == [500, 500]
    assert (tmp_path / "figures" / "raster.png").is_file()
    ours, theirs = (one["deployment"][0] for one in _both(tmp_path))
    assert ours["host_profile"] == "cmos45-fp32+lemaire"
    # each where it costs least: RepAct's classifier after its ReLU, and the baseline's, are left to the host, T times 8·10
    assert [one["cut"] for one in _both(tmp_path)] == ["last-synapse", "last-spike"]
    assert (ours["head_macs"], theirs["head_macs"]) == (4 * 80, 4 * 80)
    assert (ours["graded_values"] > 0, theirs["graded_values"]) == (True, 0)
    assert ours["total_uj"] == pytest.approx(ours["chip_uj"] + ours["encoder_uj"] + ours["head_uj"])
    assert json.loads((tmp_path / "report.json").read_text())["energy"][0]["total_uj"] == ours["total_uj"]


def test_where_the_host_costs_next_to_nothing_it_has_the_last_synapse(cli, student):
    outcome = cli("energy", student, "--profile", "loihi1", "--host-profile", "cmos7-fp32", "--json")
    (parts,) = json.loads(outcome.out)["deployment"]
    # the last synapse, its ReLU layer's classifier and mean over time run on the host: T times 8·6·25, of the 36
    # taps of 2 × 2 outputs those that meet no padding, and 8·10
    assert parts["head_macs"] == 4 * (8 * 6 * 25 + 80)
    assert json.loads(outcome.out)["cut"] == "last-spike"


def _both(folder):
    report = json.loads((folder / "report.json").read_text())
    return report, report["baseline"]


def test_the_teacher_is_the_twin_with_its_own_zeros(cli, finished, student, tmp_path):
    teacher = finished / "seed-0" / "teacher" / "checkpoint.safetensors"
    outcome = cli("energy", student, "--twin", teacher, "--profile", "cmos45-int8", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "skips the zeros of its ReLUs and weights (" in outcome.out
    report = read_report(tmp_path / "report.json")
    assert report.twin.name == "digits/teacher, seed 0, epoch 4"
    assert report.answers[1] == 500


def test_the_main_job_s_report_has_parts_twin_and_accuracy(finished):
    report = read_report(finished / "report.json")
    assert report.twin.name == "teacher"
    assert {*report.places.values()} == {"encoder", "body", "head"}
    assert report.comparison.baseline.places["act4"] == "body"
    summary = json.loads((finished / "summary.json").read_text())
    assert 100 * report.answers[0] / 500 == summary["student"]["accuracy_per_seed"][0]


def test_memory_and_another_host_are_asked_for_by_name(cli, student):
    outcome = cli("energy", student, "--profile", "cmos45-int8+lemaire", "--host-profile", "cmos45-int8")
    assert outcome.code == 0, outcome.err
    assert "cmos45-int8+lemaire" in outcome.out
    refused = cli("energy", student, "--host-profile", "truenorth")
    assert refused.code == 2
    assert "profile truenorth: a host computes densely" in refused.err


def test_joules_are_measured_on_request_or_it_is_said_that_they_are_not(cli, student, monkeypatch):
    monkeypatch.setattr(
        "neurodeploy_energy.price.joules.meters", lambda _kind, **_options: ([], [Unmeasured("CPU", "no counter")])
    )
    assert "measured" not in cli("energy", student).out
    assert "CPU: not measured (no counter)." in cli("energy", student, "--measure").out
    assert json.loads(cli("energy", student, "--measure", "--json").out)["measured"] == [
        {"device": "CPU", "reason": "no counter"}
    ]


@pytest.fixture
def bundles(finished):
    return finished / "seed-0" / "bundles"


def _layers(outcome):
    assert outcome.code == 0, outcome.err
    return {layer["name"]: layer for layer in json.loads(outcome.out)["layers"]}


def test_a_bundle_s_report_counts_the_spikes_of_its_sample(cli, bundles):
    for target, origin in (
        ("onnx", "ONNX Runtime (whole.onnx)"),
        ("lava", "ONNX Runtime (encoder.onnx) and the fixed-point simulator (body.net)"),
    ):
        outcome = cli("energy", bundles / target, "--json")
        layers = _layers(outcome)
        assert f"{bundles / target}: spikes fired by {origin}" in outcome.err
        with np.load(bundles / target / "sample.npz") as sample:
            for layer in ("act1", "act2", "act3"):
                assert layers[layer]["spikes"] == sample[f"spikes/{layer}"].sum() / 20


def test_estimate_and_artefacts_stand_line_by_line(cli, bundles, student, tmp_path):
    onnx, lava = bundles / "onnx", bundles / "lava"
    outcome = cli("energy", lava, "--baseline", onnx, "--output", tmp_path / "both")
    assert outcome.code == 0, outcome.err
    assert "digits-student (lava bundle)" in outcome.out
    report = read_report(tmp_path / "both" / "report.json")
    assert [pair.name for pair in report.comparison.layers] == [row.name for row in report.layers]
    for pair in report.comparison.layers:  # both are exact
        assert pair.difference("spikes") == pair.difference("sops") == pair.difference("macs") == 0, pair.name
    assert {*report.places.values()} == {"encoder", "body", "head"}
    assert "the fixed-point simulator (body.net)" in (tmp_path / "both" / "report.html").read_text()
    trained = cli("energy", onnx, "--baseline", student, "--output", tmp_path / "trained")
    assert trained.code == 0, trained.err
    pairs = read_report(tmp_path / "trained" / "report.json").comparison.layers
    assert [pair.name for pair in pairs if pair.model is None and pair.baseline.kind == "synapse"] == []
    assert any(pair.difference("spikes") != 0 for pair in pairs)  # the weights of the bundle are rounded


def test_a_bundle_takes_other_samples_and_is_a_baseline_on_the_test_set(cli, bundles, student, tmp_path):
    images = np.random.default_rng(0).random((3, 1, 8, 8))
    np.save(tmp_path / "x.npy", images)
    few = _layers(cli("energy", bundles / "onnx", "--input", tmp_path / "x.npy", "--json"))
    assert few["act1"]["spikes"] != _layers(cli("energy", bundles / "onnx", "--json"))["act1"]["spikes"]
    outcome = cli("energy", student, "--baseline", bundles / "onnx", "--json")
    assert outcome.code == 0, outcome.err
    assert "spikes fired by ONNX Runtime (whole.onnx)" in outcome.err
    report = json.loads(outcome.out)
    assert (report["samples"], report["baseline"]["samples"]) == (500, 500)


def test_what_a_bundle_cannot_do_is_said_in_one_line(cli, bundles, tmp_path, finished):
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8)))
    refusals = {
        ("energy", bundles / "onnx", "--input", tmp_path / "x.npy"): "samples of shape (8, 8) found, (1, 8, 8) expected by",
        ("energy", bundles / "onnx", "--measure"): "--measure: a bundle's spikes are replayed here; measure its checkpoint",
        ("energy", finished): "no manifest.json found, so this is no bundle",
    }
    for arguments, message in refusals.items():
        outcome = cli(*arguments)
        assert outcome.code == 2
        assert message in outcome.err
        assert len(outcome.err.strip().splitlines()) <= 2
