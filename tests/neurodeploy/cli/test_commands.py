import json
import re
import resource
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from neurodeploy import __version__
from neurodeploy.cli import doctor as doctor_command
from neurodeploy.cli import main as main_module
from neurodeploy.training.results import read

COMMANDS = (
    "run",
    "train",
    "evaluate",
    "export",
    "verify",
    "diff",
    "sign",
    "benchmark",
    "simulate",
    "map",
    "energy",
    "compare",
    "sweep",
    "profiles",
    "recipes",
    "models",
    "doctor",
)


def test_help_lists_every_command_and_the_version_is_printed(cli):
    outcome = cli("--help")
    assert outcome.code == 0
    assert all(f"  {command} " in outcome.out for command in COMMANDS)
    assert cli("--version").out.strip() == f"neurodeploy {__version__}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_shows_an_example_on_lines_of_its_own(cli, command):
    text = cli(command, "--help").out
    example = text.partition("Example:")[2]
    assert example.strip().startswith(f"neurodeploy {command}")


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command not in ("run", "train", "sweep", "diff", "sign")]
)
def test_the_example_of_each_command_works_when_pasted_after_the_demo(cli, command, tmp_path, finished, monkeypatch):
    shutil.copytree(finished, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    example = cli(command, "--help").out.partition("Example:")[2].replace("\\\n", " ").partition(">")[0]
    _, *arguments = shlex.split(example)
    outcome = cli(*arguments)
    assert outcome.code == 0, outcome.err
    assert outcome.out


@pytest.mark.parametrize(
    "arguments", [("absent",), ("run", "--no-such-option"), ("evaluate",), ("train", "digits", "--device", "tpu")]
)
def test_a_wrong_argument_is_refused_with_exit_code_2(cli, arguments):
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


def test_train_writes_checkpoints_and_evaluate_reads_them(cli, tmp_path, recipe_file):
    outcome = cli("train", recipe_file, "--output", tmp_path / "run", "--seed", 5, "--device", "cpu")
    assert outcome.code == 0
    checkpoint = tmp_path / "run" / "seed-5" / "baseline" / "checkpoint.safetensors"
    assert f"{checkpoint}: test accuracy" in outcome.out
    table = cli("evaluate", checkpoint)
    assert table.code == 0
    assert "act4" in table.out
    answer = json.loads(cli("evaluate", checkpoint, "--json").out)
    assert answer["samples"] == 500
    low, high = answer["accuracy_interval_95"]
    assert low < answer["accuracy"] < high
    assert answer["spikes_per_sample"] == pytest.approx(sum(answer["spikes_per_sample_by_layer"].values()))


def test_train_ends_with_a_table_over_all_seeds_and_keeps_its_numbers(cli, tmp_path, recipe_file):
    outcome = cli("train", recipe_file, "--output", tmp_path / "run", "--device", "cpu")
    assert outcome.code == 0
    results = read(tmp_path / "run" / "results.json")
    assert len(results.networks) == 6
    mean, half = results.accuracy("student")
    assert f"{mean:.2f} ± {half:.2f}" in outcome.out
    assert "test accuracy, %, mean of 2 seeds ± 95 %" in outcome.out
    profile = results.recipe.energy.profiles[0]
    energy = results.energy("student", profile)
    assert energy is not None
    assert f"{energy[0]:.3g}" in outcome.out
    assert set(results.networks[1].energy) == set(results.recipe.energy.profiles)
    assert set(results.networks[0].energy) == set(results.recipe.energy.profiles)  # under a chip's, all of it on the host
    again = cli("train", recipe_file, "--output", tmp_path / "run", "--device", "cpu", "--resume")
    assert again.out == outcome.out
    assert read(tmp_path / "run" / "results.json") == results


def test_export_and_verify_make_and_check_a_bundle_for_each_target(cli, tmp_path, student):
    targets = ("--target", "onnx", "--target", "lava")
    outcome = cli("export", student, *targets, "--quantize", "exact", "--output", tmp_path, "--samples", 4)
    assert outcome.code == 0
    for target in ("onnx", "lava"):
        assert f"neurodeploy verify {tmp_path / target}" in outcome.out
        checked = cli("verify", tmp_path / target)
        assert checked.code == 0
        assert "verified" in checked.out
        answer = json.loads(cli("verify", tmp_path / target, "--json").out)
        assert answer["passed"]
        assert sum(answer["mismatched_spikes"].values()) == 0


@pytest.mark.parametrize("head_cut", ["last-spike", "last-synapse"])
def test_export_shows_what_both_places_of_the_head_cut_cost(cli, tmp_path, student, head_cut):
    outcome = cli("export", student, "--target", "lava", "--output", tmp_path, "--head-cut", head_cut)
    assert outcome.code == 0
    cut = json.loads((tmp_path / "lava" / "manifest.json").read_text())["head_cut"]
    assert cut["chosen"] == head_cut
    early, late = cut["last_spike"], cut["last_synapse"]
    cells = [[cell.strip() for cell in line.split("│")] for line in outcome.out.splitlines() if "│" in line]
    rows = {name: values for _, name, *values, _ in cells}
    assert rows["spikes that leave the chip"] == [f"{early['spikes']:,.1f}", f"{late['spikes']:,.1f}"]
    assert rows["synaptic operations on the chip"] == ["0.0", f"{late['synaptic_operations']:,.1f}"]
    assert rows["multiply-accumulates on the host"] == [f"{cost['multiply_accumulates']:,.1f}" for cost in (early, late)]
    assert all(float(value.replace(",", "")) > 0 for value in rows["energy, µJ: chip and host"] if value != "-")
    assert rows["energy, µJ: chip and host"].count("-") == 1  # of the place that was not asked for
    assert f"{head_cut} (chosen)" in outcome.out
    assert "Cut as asked for" in " ".join(outcome.out.split())
    assert cli("verify", tmp_path / "lava").code == 0


def test_export_cuts_where_chip_and_host_together_cost_least_and_says_so(cli, tmp_path, student):
    chosen = {}
    for host in ("cmos45-fp32+lemaire", "cmos7-fp32"):
        outcome = cli("export", student, "--target", "lava", "--output", tmp_path, "--host-profile", host)
        assert outcome.code == 0
        cut = json.loads((tmp_path / "lava" / "manifest.json").read_text())["head_cut"]
        energies = {name: float(uj) for name, uj in re.findall(r"(last-\w+) (\S+) µJ", cut["why"])}
        assert set(energies) == {"last-spike", "last-synapse"}
        assert cut["chosen"] == min(energies, key=energies.get)
        assert f"loihi1, host {host}; 16 samples" in cut["why"]
        assert f"{cut['chosen']} (chosen)" in outcome.out
        assert "by the energy of chip and host" in " ".join(outcome.out.split())
        chosen[host] = cut["chosen"]
    assert set(chosen.values()) == {"last-spike", "last-synapse"}  # where arithmetic of the host costs next to nothing


def test_a_host_whose_profile_has_no_cost_of_multiplications_is_refused_before_anything_is_written(cli, tmp_path, student):
    outcome = cli("export", student, "--target", "lava", "--output", tmp_path, "--host-profile", "loihi1")
    assert outcome.code == 2
    assert "profile loihi1: a host computes densely, and it gives no cost_pj.mac" in outcome.err
    assert not (tmp_path / "lava").exists()


def test_a_head_cut_behind_the_last_synapse_needs_a_target_with_a_chip(cli, tmp_path, student):
    outcome = cli("export", student, "--target", "onnx", "--output", tmp_path, "--head-cut", "last-synapse")
    assert outcome.code == 2
    assert "head-cut: no option of onnx; add the target lava, or leave it out" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_verify_fails_with_the_name_of_the_file_that_was_changed(cli, tmp_path, student):
    cli("export", student, "--target", "onnx", "--output", tmp_path, "--samples", 4)
    path = tmp_path / "onnx" / "body.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    outcome = cli("verify", tmp_path / "onnx")
    assert outcome.code == 1
    assert "body.onnx: changed" in outcome.out
    assert cli("verify", tmp_path / "onnx", "--json").code == 1
    assert cli("verify", tmp_path).code == 2


def test_energy_compares_two_checkpoints_and_writes_the_report(cli, tmp_path, student, finished):
    baseline = finished / "seed-0" / "baseline" / "checkpoint.safetensors"
    outcome = cli("energy", student, "--baseline", baseline, "--profile", "loihi1", "--output", tmp_path / "energy")
    assert outcome.code == 0
    assert "loihi1" in outcome.out
    assert "estimate" in outcome.out
    assert (tmp_path / "energy" / "report.html").exists()
    document = json.loads(cli("energy", student, "--json").out)
    assert document["samples"] == 500
    assert [entry["profile"]["name"] for entry in document["energy"]] == ["loihi1", "cmos45-fp32", "cmos45-int8"]


def test_energy_measures_a_torch_module_of_the_users_own_code(cli, tmp_path, monkeypatch):
    (tmp_path / "own_linear.py").write_text(
        "from torch import nn\n"
        "model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))\n"
        "def make():\n    return model\n"
        "number = 7\n"
    )
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 3, 2, 2)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    for name in ("model", "make"):
        outcome = cli("energy", f"own_linear:{name}", "--input", "x.npy")
        assert outcome.code == 0
        assert "60" in outcome.out  # 12 · 5 multiply-accumulates of the first layer
    for place, message in (
        ("own_linear:absent", "has no name 'absent'"),
        ("own_linear:number", "int found"),
        ("no_such_module:x", "no module 'no_such_module' in "),
    ):
        refused = cli("energy", place, "--input", "x.npy")
        assert refused.code == 2
        assert message in refused.err
    assert "give samples with --input" in cli("energy", "own_linear:model").err
    np.save(tmp_path / "wrong.npy", np.zeros((6, 3, 2, 3), np.float32))
    refused = cli("energy", "own_linear:model", "--input", "wrong.npy")
    assert refused.code == 2
    assert "own_linear:model: does not run on an input of shape (6, 3, 2, 3)" in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00garbage"])
def test_energy_refuses_a_damaged_input_file(cli, tmp_path, student, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    outcome = cli("energy", student, "--input", path)
    assert outcome.code == 2
    assert "x.npy" in outcome.err
    assert cli("energy", student, "--input", tmp_path / "absent.npy").code == 2


def test_energy_refuses_an_unknown_profile_by_name(cli, student):
    outcome = cli("energy", student, "--profile", "abacus")
    assert outcome.code == 2
    assert "profile 'abacus': not known" in outcome.err


def test_simulate_runs_a_net_file_and_writes_every_trace(cli, tmp_path, finished):
    network = finished / "seed-0" / "bundles" / "lava" / "body.net"
    spikes = (np.random.default_rng(0).random((4, 3, 4, 8, 8)) < 0.3).astype(np.int32)
    np.savez(tmp_path / "x.npz", input=spikes)
    outcome = cli("simulate", network, "--input", tmp_path / "x.npz", "--steps", 8, "--output", tmp_path / "trace.npz")
    assert outcome.code == 0
    assert "L0_Conv" in outcome.out
    with np.load(tmp_path / "trace.npz") as trace:
        assert trace["L1_Conv_v"].shape == (8, 3, 6, 4, 4)
        assert trace["L0_Conv_s"].any()


def test_simulate_refuses_a_truncated_network_a_wrong_shape_and_a_damaged_input(cli, tmp_path, finished):
    network = finished / "seed-0" / "bundles" / "lava" / "body.net"
    np.savez(tmp_path / "wrong.npz", input=np.zeros((4, 3, 2, 2, 2), np.int32))
    np.savez(tmp_path / "unnamed.npz", other=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04broken")
    (tmp_path / "cut.net").write_bytes(network.read_bytes()[:2000])
    for net, x, message in (
        (tmp_path / "cut.net", "wrong.npz", "cut.net"),
        (network, "wrong.npz", "shape"),
        (network, "unnamed.npz", "array `input` is missing"),
        (network, "broken.npz", "not a readable .npz file"),
        (network, "absent.npz", "no such file"),
        (tmp_path / "absent.net", "wrong.npz", "absent.net"),
    ):
        outcome = cli("simulate", net, "--input", tmp_path / x)
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
    assert "--steps: needed" in cli("simulate", network, "--input", tmp_path / "wrong.npz", "--mode", "bias").err


def test_recipes_and_profiles_print_what_is_there_and_the_whole_text_of_one(cli):
    assert "digits" in cli("recipes").out
    assert cli("recipes", "digits").out.startswith("# The embedded experiment")
    assert "loihi1" in cli("profiles").out
    assert "23.6" in cli("profiles", "loihi1").out
    assert cli("recipes", "absent").code == cli("profiles", "absent").code == 2


def test_doctor_reports_what_is_missing_and_what_clashes(cli, monkeypatch):
    assert "no problems found" in cli("doctor").out
    both = {"onnxruntime": "1.0", "onnxruntime-gpu": "1.0"}
    monkeypatch.setattr(doctor_command, "_version", lambda package: both.get(package))
    outcome = cli("doctor")
    assert outcome.code == 1
    assert "overwrite each other" in outcome.out
    assert "problem: torch is missing" in outcome.out
    monkeypatch.setattr(doctor_command, "_version", lambda package: None if package in both else "1.0")
    assert "exported but not verified" in cli("doctor").out


def test_export_fine_tunes_on_request_and_its_manifest_tells_every_accuracy_on_the_way(cli, tmp_path, student):
    checkpoint = shutil.copytree(student.parent, tmp_path / "student") / student.name
    command = ("export", checkpoint, "--target", "lava", "--quantize", "exact", "--device", "cpu", "--finetune", 2)
    outcome = cli(*command, "--finetune-learning-rate", 0.002)
    assert outcome.code == 0, outcome.err
    bundle = tmp_path / "student" / "bundles" / "lava"
    accuracy = json.loads((bundle / "manifest.json").read_text())["accuracy"]
    assert list(accuracy) == ["float", "quantised", "tuned", "exported"]
    assert accuracy["tuned"] == accuracy["exported"]
    for stage in ("float", "quantised", "tuned", "exported"):
        assert f"{stage}: test accuracy {100 * accuracy[stage]['correct'] / 500:.2f} %" in outcome.out
    assert cli("verify", bundle).code == 0
    refused = cli(*command, "--finetune-learning-rate", 0.002)
    assert refused.code == 2
    assert "finetuning/checkpoint.safetensors: exists; add --resume" in refused.err
    assert cli(*command, "--resume", "--finetune-learning-rate", 0.003).code == 2
    assert cli(*command, "--resume", "--finetune-learning-rate", 0.002).out == outcome.out
    assert json.loads((bundle / "manifest.json").read_text())["accuracy"] == accuracy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "lava", "--resume"), "--resume: belongs to a fine-tuning; give its epochs with --finetune"),
        (("--target", "lava", "--finetune-reset"), "--finetune-reset: belongs to a fine-tuning"),
        (("--target", "lava", "--finetune-learning-rate", 1e-3), "--finetune-learning-rate: belongs to a fine-tuning"),
        (
            ("--target", "lava", "--target", "onnx", "--finetune", 1),
            "--finetune: for one target that can be fine-tuned for, such as lava, lava, onnx found",
        ),
    ],
)
def test_options_of_a_fine_tuning_that_does_not_take_place_are_refused(cli, student, options, message):
    outcome = cli("export", student, *options)
    assert outcome.code == 2
    assert message in " ".join(outcome.err.split())


def test_a_teacher_is_not_fine_tuned(cli, finished):
    outcome = cli("export", finished / "seed-0" / "teacher" / "checkpoint.safetensors", "--target", "lava", "--finetune", 1)
    assert outcome.code == 2
    assert "teacher: a ReLU network, and only spiking ones are fine-tuned" in " ".join(outcome.err.split())


@pytest.mark.parametrize("command", ["evaluate", "export", "energy"])
def test_a_corrupt_or_missing_checkpoint_is_one_clear_line(cli, tmp_path, student, command):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(student.read_bytes()[:1000])
    options = ("--target", "onnx", "--output", tmp_path / "bundles") if command == "export" else ()
    for place in (path, tmp_path / "absent.safetensors"):
        outcome = cli(command, place, *options)
        assert outcome.code == 2
        assert place.name in outcome.err
        assert outcome.err.count("\n") == 1
    assert not (tmp_path / "bundles").exists()


@contextmanager
def room_for(size):
    """As on a disk with no room: the operating system refuses to let any file grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 100, 1000, 4000])
@pytest.mark.parametrize("target", ["onnx", "lava"])
def test_an_export_without_room_is_reported_in_one_line_and_leaves_nothing(cli, tmp_path, student, target, size):
    with room_for(size):
        outcome = cli("export", student, "--target", target, "--output", tmp_path / "bundles", "--quantize", "exact")
    assert outcome.code == 1
    assert f"{tmp_path / 'bundles'}" in outcome.err
    assert "not written (" in outcome.err
    assert outcome.err.count("\n") == 1
    assert list((tmp_path / "bundles").iterdir()) == []


@pytest.mark.parametrize("size", [0, 1000, 9000])
def test_a_report_and_a_trace_without_room_are_reported_and_not_half_written(cli, tmp_path, finished, student, size):
    lava = finished / "seed-0" / "bundles" / "lava"
    simulate = ("simulate", lava / "body.net", "--input", lava / "sample.npz", "--array", "spikes/act1")
    with room_for(size):
        outcomes = [
            cli("energy", student, "--output", tmp_path / "energy"),
            cli(*simulate, "--output", tmp_path / "trace.npz"),
        ]
    for outcome in outcomes:
        assert outcome.code == 1
        assert outcome.err.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in outcome.err
        assert "free some space or choose another place" in outcome.err
    assert not (tmp_path / "trace.npz").exists()
    assert not list(tmp_path.rglob(".*"))


def test_training_without_room_keeps_the_last_whole_checkpoint(cli, tmp_path, recipe_file):
    arguments = ("train", recipe_file, "--output", tmp_path / "run", "--device", "cpu", "--seed", 0)
    folder = tmp_path / "run" / "seed-0" / "teacher"
    with room_for(5000):
        outcome = cli(*arguments)
    assert outcome.code == 1
    assert "checkpoint.safetensors: not written (File too large); free some space" in outcome.err
    assert {path.name for path in folder.iterdir()} == {"metrics.jsonl", "events.out.tfevents.neurodeploy"}
    assert cli(*arguments, "--resume").code == 0
    whole = (folder / "checkpoint.safetensors").read_bytes()
    with room_for(4000):
        assert cli(*arguments).code == 2
    assert (folder / "checkpoint.safetensors").read_bytes() == whole


def test_a_failure_ends_with_exit_code_1_and_no_traceback(cli, monkeypatch):
    def fail() -> None:
        raise main_module.Failure("the artefact differs")

    monkeypatch.setattr(main_module, "app", fail)
    outcome = cli()
    assert (outcome.code, outcome.err) == (1, "error: the artefact differs\n")


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -m neurodeploy recipes digits | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("# The embedded")
    assert "Traceback" not in done.stderr
