import json
import re

import pytest
from jsonschema import Draft202012Validator

from neurodeploy.app.schemas import schema_of
from neurodeploy_exporters.bundle import read_bundle


def test_the_main_job_writes_a_summary_with_means_and_intervals_over_its_seeds(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["seeds"] == [0, 1]
    for role in ("teacher", "baseline", "student"):
        per_seed = summary[role]["accuracy_per_seed"]
        assert summary[role]["accuracy"] == pytest.approx(sum(per_seed) / 2)
        assert summary[role]["accuracy_interval"] >= 0
    assert set(summary["student"]["spikes_per_sample_by_layer"]) == {"act1", "act2", "act3"}
    assert set(summary["baseline"]["spikes_per_sample_by_layer"]) == {"act1", "act2", "act3", "act4"}
    assert summary["verify"]["onnx_mismatched_spikes"] == summary["verify"]["lava_mismatched_spikes"] == 0
    assert summary["energy"]["profile"] == "loihi1"
    assert set(summary["energy"]["other_profiles"]) == {"cmos45-fp32", "cmos45-int8"}
    Draft202012Validator(schema_of("summary")).validate(summary)


def test_the_headline_of_the_job_is_the_energy_of_chip_and_host_as_the_bundle_is_cut(finished):
    summary = json.loads((finished / "summary.json").read_text())
    deployed = summary["deployed"]
    assert (deployed["chip_profile"], deployed["host_profile"]) == ("loihi1", "cmos45-fp32+lemaire")
    for seed, cut in enumerate(deployed["student_cuts"]):
        manifest = read_bundle(finished / f"seed-{seed}" / "bundles" / "lava").manifest
        assert manifest.head_cut.chosen == cut
        assert "500 samples): last-spike" in manifest.head_cut.why
    for role in ("baseline", "student"):
        for total, chip, host in zip(*(deployed[f"{role}{part}_uj_per_seed"] for part in ("", "_chip", "_host")), strict=True):
            assert total == pytest.approx(chip + host)
        assert summary["energy"][f"{role}_uj"] == deployed[f"{role}_uj"]
    before, after = (deployed[f"{role}_uj_per_seed"][0] for role in ("baseline", "student"))
    assert deployed["change_percent_per_seed"][0] == pytest.approx(100 * (after / before - 1))
    assert "As deployed (loihi1, host cmos45-fp32+lemaire)" in (finished / "report.html").read_text()


def test_the_report_counts_the_very_spikes_that_both_bundles_reproduce(finished):
    report = json.loads((finished / "report.json").read_text())
    summary = json.loads((finished / "summary.json").read_text())
    by_layer = {row["name"]: row["spikes"] for row in report["layers"] if row["kind"] == "neuron"}
    assert sum(by_layer.values()) == pytest.approx(summary["student"]["spikes_per_sample_per_seed"][0])
    samples = [read_bundle(finished / "seed-0" / "bundles" / target).sample() for target in ("onnx", "lava")]
    for layer in by_layer:
        assert (samples[0].spikes[layer] == samples[1].spikes[layer]).all()
        assert samples[0].spikes[layer].any()


def test_the_report_comes_in_every_format_with_its_figures(finished):
    for name in ("report.html", "report.json", "report.md", "report.csv"):
        assert (finished / name).stat().st_size > 500
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert {"spikes_per_layer.png", "energy_by_profile.png", "energy_by_layer_loihi1.png"} <= figures
    page = (finished / "report.html").read_text()
    assert "digits: student against baseline" in page
    assert "On the chip" in page


def test_a_run_folder_in_use_is_refused_and_a_finished_run_can_be_resumed(cli, finished, recipe_file):
    refused = cli("run", recipe_file, "--output", finished)
    assert refused.code == 2
    assert "add --resume" in refused.err
    before = (finished / "summary.json").read_text()
    assert cli("run", recipe_file, "--output", finished, "--resume").code == 0
    assert json.loads((finished / "summary.json").read_text()) == json.loads(before)


def test_the_job_can_put_the_last_synapse_on_the_chip_and_says_where_it_runs(cli, tmp_path, recipe_file):
    recipe = tmp_path / "graded.toml"
    text = recipe_file.read_text().replace('targets = ["onnx", "lava"]', 'targets = ["lava"]\nhead_cut = "last-synapse"')
    recipe.write_text(text)
    outcome = cli("run", recipe, "--output", tmp_path / "run", "--seed", 0)
    assert outcome.code == 0
    manifest = read_bundle(tmp_path / "run" / "seed-0" / "bundles" / "lava").manifest
    assert manifest.head_cut.chosen == "last-synapse"
    assert [tensor.read for tensor in manifest.chain[1].graded] == ["every step"]
    page = (tmp_path / "run" / "report.html").read_text()
    for place, layers in (("On the chip", "conv2, act2, conv3, act3, conv4"), ("On the host, after the chip", "classifier")):
        assert re.search(rf"{place}</\w+>\s*<\w+>{layers}</", page)


def test_a_recipe_whose_targets_have_no_chip_cannot_put_the_last_synapse_on_it(cli, tmp_path, recipe_file):
    recipe = tmp_path / "graded.toml"
    text = recipe_file.read_text().replace('targets = ["onnx", "lava"]', 'targets = ["onnx"]\nhead_cut = "last-synapse"')
    recipe.write_text(text)
    outcome = cli("run", recipe, "--output", tmp_path / "run")
    assert outcome.code == 2
    assert "head-cut: no option of onnx; add the target lava" in outcome.err
    assert not (tmp_path / "run").exists()


def test_without_exact_weights_and_targets_the_job_reports_float_networks(cli, tmp_path, recipe_file):
    recipe = tmp_path / "float.toml"
    text = recipe_file.read_text().replace('targets = ["onnx", "lava"]', 'targets = ["onnx"]')
    recipe.write_text(text.replace('quantize = "exact"', 'quantize = "none"'))
    outcome = cli("run", recipe, "--output", tmp_path / "run", "--seed", 3)
    assert outcome.code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["seeds"] == [3]
    assert summary["student"]["accuracy_interval"] is None
    assert "lava_mismatched_spikes" not in summary["verify"]


def test_an_interrupted_run_says_how_to_continue(cli, tmp_path, recipe_file, monkeypatch):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("neurodeploy.training.loop._Run.train_epoch", interrupted)
    for command in ("run", "train"):
        outcome = cli(command, recipe_file, "--output", tmp_path / command)
        assert outcome.code == 130
        assert "--resume" in outcome.err


def test_an_unknown_target_is_refused_before_any_training(cli, tmp_path, recipe_file):
    recipe = tmp_path / "strange.toml"
    recipe.write_text(recipe_file.read_text().replace('"lava"]', '"abacus"]'))
    outcome = cli("run", recipe, "--output", tmp_path / "run")
    assert outcome.code == 2
    assert "'abacus': unknown" in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_run_that_fine_tunes_reports_and_exports_the_tuned_student(cli, tmp_path, recipe_file):
    recipe = tmp_path / "tuned.toml"
    text = recipe_file.read_text().replace('targets = ["onnx", "lava"]', 'targets = ["lava"]')
    text = text.replace("epochs = 4", "epochs = 1").replace("samples = 20", "samples = 500")
    recipe.write_text(text.replace("[energy]", "finetune = { epochs = 2, learning_rate = 2e-3 }\n\n[energy]"))
    outcome = cli("run", recipe, "--output", tmp_path / "run", "--seed", 0, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    root = tmp_path / "run" / "seed-0"
    accuracy = read_bundle(root / "bundles" / "lava").manifest.accuracy
    assert list(accuracy) == ["float", "quantised", "tuned", "exported"]
    assert accuracy["exported"] == accuracy["tuned"]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["student"]["accuracy"] == accuracy["exported"].correct / 5
    assert summary["student"]["quantised_accuracy"] == accuracy["quantised"].correct / 5
    assert "quantised_accuracy" not in summary["baseline"]
    exported = read_bundle(root / "bundles" / "lava").sample().spikes
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    counted = {row["name"]: row["spikes"] for row in report["layers"] if row["kind"] == "neuron"}
    assert counted == {layer: pytest.approx(spikes.sum() / 500) for layer, spikes in exported.items()}
    assert len((root / "student" / "finetuning" / "metrics.jsonl").read_text().splitlines()) == 2
    again = cli("run", recipe, "--output", tmp_path / "run", "--seed", 0, "--device", "cpu", "--resume")
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
