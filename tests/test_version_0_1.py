"""What version 0.1 wrote is read as it was: checkpoints, runs, bundles of every target, reports.

The files in `files/v0.1` were written by 0.1.0: `run small.toml`, `train … --resume`, `export` to every target (streaming and
counting, with the head cut behind the last synapse), `export --finetune 1`, and `energy`.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import neurodeploy as nd
from neurodeploy.cli.main import main
from neurodeploy.data import Digits
from neurodeploy.training import checkpoint
from neurodeploy.training.results import read
from neurodeploy_energy import account, read_report

FILES = Path(__file__).with_name("files") / "v0.1"
BUNDLES = sorted(path.parent for path in FILES.rglob("manifest.json"))


def commands(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["neurodeploy", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("folder", BUNDLES, ids=[str(path.relative_to(FILES)) for path in BUNDLES])
def test_its_bundles_verify_and_their_energy_is_counted(folder):
    check = nd.verify(folder)
    assert check.passed, check.findings
    assert check.mismatches == 0
    assert check.spikes_compared > 0
    report = nd.energy(folder)
    assert report.total.spikes > 0
    assert report.places


def test_its_checkpoints_answer_as_they_did():
    data, results = Digits().load(), read(FILES / "run" / "results.json")
    assert {network.role for network in results.networks} == {"teacher", "baseline", "student"}
    for network in results.networks:
        loaded = checkpoint.load(FILES / "run" / f"seed-{network.seed}" / network.role / "checkpoint.safetensors")
        evaluation = nd.evaluate(loaded.network, data.test_samples, data.test_labels)
        assert evaluation.accuracy == network.accuracy
        assert evaluation.spikes == pytest.approx(network.spikes)
        assert loaded.progress.recipe.export.options["onnx"]["quantize"] == "exact"


def test_its_report_is_read_and_counted_again_to_the_same_numbers():
    before = read_report(FILES / "energy" / "report.json")
    assert before.host is not None
    student = FILES / "run" / "seed-0" / "student" / "checkpoint.safetensors"
    # it counted multiply-accumulates on the padding too
    padded = account(checkpoint.load(student).network, Digits().load().test_samples, padding=True)
    now = replace(nd.energy(student, host=before.host.name), layers=padded.layers)
    for one, other in zip(before.layers, now.layers, strict=True):
        assert (one.name, one.spikes, one.sops) == (other.name, other.spikes, other.sops)
    for profile in before.profiles:
        assert now.energy(profile.name).total_uj == pytest.approx(before.energy(profile.name).total_uj)


def test_its_report_can_be_saved_again_without_what_it_does_not_know(tmp_path):
    before = read_report(FILES / "energy" / "report.json")
    before.save(tmp_path / "again")
    after = read_report(tmp_path / "again" / "report.json")
    rows, again = ([(row.name, row.spikes, row.sops) for row in one.layers] for one in (before, after))
    assert again == rows
    for profile in before.profiles:
        assert after.energy(profile.name).total_uj == before.energy(profile.name).total_uj
    assert after.on_chip is None


def test_its_run_goes_on_without_training_again(tmp_path, monkeypatch):
    folder = shutil.copytree(FILES / "run", tmp_path / "run")
    weights = {path: path.read_bytes() for path in folder.rglob("checkpoint.safetensors")}
    assert commands(monkeypatch, "run", FILES / "small.toml", "--output", folder, "--resume", "--device", "cpu") == 0
    assert {path: path.read_bytes() for path in weights} == weights
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verify"]["lava_mismatched_spikes"] == summary["verify"]["onnx_mismatched_spikes"] == 0


def test_its_fine_tuning_goes_on(tmp_path, monkeypatch):
    folder = shutil.copytree(FILES / "run", tmp_path / "run")
    student = folder / "seed-0" / "student" / "checkpoint.safetensors"
    options = ("--target", "lava", "--finetune", 1, "--resume", "--samples", 4, "--output", tmp_path / "tuned")
    assert commands(monkeypatch, "export", student, *options) == 0
    before, after = (nd.energy(path / "lava") for path in (FILES / "tuned", tmp_path / "tuned"))
    assert [row.spikes for row in after.layers] == [row.spikes for row in before.layers]
    with torch.no_grad():
        assert nd.verify(tmp_path / "tuned" / "lava").passed
