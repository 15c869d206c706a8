"""`neurodeploy energy`: chip and host apart, the teacher as twin, memory, joules where there is a counter."""

import json

from neurodeploy_energy.joules import Unmeasured
from neurodeploy_energy.report import read_report


def test_repact_s_work_on_the_host_is_a_line_of_its_own(cli, finished, student, tmp_path):
    baseline = finished / "seed-0" / "baseline" / "checkpoint.safetensors"
    outcome = cli("energy", student, "--baseline", baseline, "--profile", "loihi1", "--output", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "head on the host, MACs" in outcome.out
    assert (tmp_path / "figures" / "raster.png").is_file()
    ours, theirs = (one["deployment"][0] for one in _both(tmp_path))
    assert ours["host_profile"] == "cmos45-fp32"
    # the last synapse, its ReLU layer's classifier and mean over time run on the host: T times 8·6·9 per position and 8·10
    assert ours["head_macs"] == 4 * (8 * 6 * 9 * 4 + 80)
    assert theirs["head_macs"] == 4 * 80
    assert ours["head_uj"] > 20 * theirs["head_uj"]
    assert ours["chip_uj"] < json.loads((tmp_path / "report.json").read_text())["energy"][0]["total_uj"]


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
    monkeypatch.setattr("neurodeploy_energy.joules.meters", lambda _kind, **_options: ([], [Unmeasured("CPU", "no counter")]))
    assert "measured" not in cli("energy", student).out
    assert "CPU: not measured (no counter)." in cli("energy", student, "--measure").out
    assert json.loads(cli("energy", student, "--measure", "--json").out)["measured"] == [
        {"device": "CPU", "reason": "no counter"}
    ]
