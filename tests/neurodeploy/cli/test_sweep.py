"""`neurodeploy sweep`: a search that goes on after an interruption, and whose workers share their storage."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="optuna is not installed")

from neurodeploy.cli import sweep as command
from neurodeploy.cli.main import main
from neurodeploy.recipe.sweep import load_space

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, recipe_file):
    """The small recipe with one seed and one epoch, and its search."""
    path = tmp_path_factory.mktemp("sweep") / "small.toml"
    path.write_text(recipe_file.read_text().replace("seeds = [0, 1]", "seeds = [0]").replace("epochs = 4", "epochs = 1"))
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory, recipe):
    """The folder of a sweep of three trials."""
    root = tmp_path_factory.mktemp("runs") / "sweep"
    arguments = sys.argv
    sys.argv = ["neurodeploy", "sweep", str(recipe), "--trials", "3", "--output", str(root), "--device", "cpu"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code  # noqa: PT017 - the command line always exits
    finally:
        sys.argv = arguments
    return root


@pytest.fixture
def sweep(cli):
    """Runs the command to a good end; its standard output and error."""

    def run(*arguments):
        outcome = cli("sweep", *arguments, "--device", "cpu")
        assert outcome.code == 0, outcome.err
        return outcome.out, outcome.err

    return run


def start(*arguments):
    """The command in a process of its own."""
    paths = os.pathsep.join(str(ROOT / place) for place in (".", "exporters", "energy"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONPATH": paths}
    line = [sys.executable, "-m", "neurodeploy", "sweep", *map(str, arguments), "--device", "cpu"]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_every_trial_is_told_and_those_that_no_other_beats_are_the_front(swept):
    found = json.loads((swept / "sweep.json").read_text())
    assert [one["number"] for one in found["found"]] == [0, 1, 2]
    assert found["estimate"] is True
    assert (found["profile"], found["student"], found["held_out"]) == ("cmos45-fp32", "student", 259)
    points = {one["number"]: (one["accuracy"], one["uj"]) for one in found["found"]}
    for number, (accuracy, uj) in points.items():
        beaten = any(a >= accuracy and e <= uj and (a, e) != (accuracy, uj) for a, e in points.values())
        assert (number in found["front"]) is not beaten
    assert all(set(one["values"]) == {p.path for p in load_space("digits").settings.parameter} for one in found["found"])
    page = (swept / "sweep.html").read_text()
    assert page.count("data-tip=") == 6
    assert "estimated energy, µJ per sample (cmos45-fp32)" in page
    assert (swept / "pareto.png").is_file()
    assert len((swept / "sweep.csv").read_text().splitlines()) == 4
    assert "Pareto front" in (swept / "sweep.md").read_text()


def test_all_trials_share_one_teacher_and_each_is_a_run_that_can_be_compared(swept, cli):
    assert len(list((swept / "teachers").iterdir())) == 1
    outcome = cli("compare", swept / "trials" / "0", swept / "trials" / "1", "--json")
    assert outcome.code == 0, outcome.err
    found = {one["number"]: one for one in json.loads((swept / "sweep.json").read_text())["found"]}
    for number, model in enumerate(json.loads(outcome.out)["models"]):
        assert model["name"] == f"{number}/student"
        assert model["accuracy"] == pytest.approx(found[number]["test_accuracy"])


def test_it_goes_on_to_as_many_trials_as_asked_for_and_then_does_nothing_more(sweep, swept, recipe):
    before = json.loads((swept / "sweep.json").read_text())["found"]
    _, err = sweep(recipe, "--trials", "4", "--output", swept)
    assert err.count("trial 3 · ") == 1
    assert "trial 2 · " not in err
    found = json.loads((swept / "sweep.json").read_text())["found"]
    assert [{**one, "front": None} for one in found[:3]] == [{**one, "front": None} for one in before]
    assert "trial" not in sweep(recipe, "--trials", "4", "--output", swept)[1]


def test_the_same_trials_give_the_same_values(sweep, swept, recipe, tmp_path):
    sweep(recipe, "--trials", "2", "--output", tmp_path / "again")
    one, other = (json.loads((root / "sweep.json").read_text())["found"][:2] for root in (swept, tmp_path / "again"))
    assert [{**a, "front": None} for a in one] == [{**b, "front": None} for b in other]


def test_ctrl_c_ends_with_code_130_and_the_next_call_goes_on(sweep, recipe, tmp_path):
    process = start(recipe, "--trials", "3", "--output", tmp_path / "s")
    assert process.stderr is not None
    for line in process.stderr:
        if "trial 0 · " in line:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "go on with the same command" in err
    assert "Traceback" not in err
    assert (tmp_path / "s" / "sweep.html").is_file()
    sweep(recipe, "--trials", "3", "--output", tmp_path / "s")
    assert len(json.loads((tmp_path / "s" / "sweep.json").read_text())["found"]) == 3


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_trial_of_a_worker_that_was_ended_is_resumed_at_once_and_ends_as_if_nothing_had_been(
    sweep, swept, recipe, tmp_path, end
):
    process = start(recipe, "--trials", "3", "--output", tmp_path / "s")
    folder = tmp_path / "s" / "trials" / "1" / "seed-0"
    while not folder.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(end)
    process.communicate(timeout=120)
    assert process.returncode == (-9 if end == signal.SIGKILL else 130)
    began = time.monotonic()
    _, said = sweep(recipe, "--trials", "3", "--output", tmp_path / "s")
    reason = "killed" if end == signal.SIGKILL else "interrupted"
    assert f"trial 1: its worker was {reason}; going on with it where its last checkpoint ends" in said
    assert "trial 1 · " in said
    assert time.monotonic() - began < 120
    one, other = (json.loads((root / "sweep.json").read_text())["found"][:3] for root in (swept, tmp_path / "s"))
    assert sorted(map(str, other)) == sorted(map(str, one))
    assert sorted(path.name for path in (tmp_path / "s" / "trials").iterdir()) == ["0", "1", "2"]
    assert list((tmp_path / "s" / ".workers").iterdir()) == []


def test_two_workers_share_the_trials_of_one_storage(recipe, tmp_path):
    storage = f"sqlite:///{tmp_path / 'shared.db'}"
    workers = [start(recipe, "--trials", "4", "--storage", storage, "--output", tmp_path / "s") for _ in range(2)]
    told = [worker.communicate(timeout=300)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], told
    numbers = sorted(number for number in range(9) for err in told if f"trial {number} · " in err)
    assert numbers == [0, 1, 2, 3]


SPACE = """
trials = 1
profile = "loihi1"
validation_samples = 100

[[parameter]]
path = "student.baseline.training.learning_rate"
low = 0.05
high = 0.1
"""


def test_a_space_of_its_own_names_another_student_and_profile(sweep, recipe, tmp_path):
    (tmp_path / "space.toml").write_text(SPACE.replace("trials = 1", 'trials = 1\nstudent = "baseline"'))
    out, _ = sweep(recipe, "--space", tmp_path / "space.toml", "--output", tmp_path / "s")
    assert "µJ (loihi1, estimate)" in out
    found = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert (found["student"], found["held_out"], found["profile"]) == ("baseline", 100, "loihi1")
    assert 0.05 <= found["found"][0]["values"]["student.baseline.training.learning_rate"] <= 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("low = 0.05\n", ""), "parameter.0: student.baseline.training.learning_rate: low and high, or choices, are missing"),
        (("low = 0.05", "low = 0.5"), "low 0.5 found, less than high 0.1 expected"),
        (("low = 0.05", "log = true\nlow = 0"), "low 0 found, more than 0 expected for log = true"),
        (("low = 0.05", "choices = [1]\nlow = 0.05"), "choices, or low and high; not both"),
        (("trials = 1", "trials = 0"), "trials: 0 found, input should be greater than or equal to 1"),
        (("trials = 1", "colour = 1"), "colour: unknown setting"),
        (("student.baseline.training", "student.bassline.training"), "bassline: not in the list, which has baseline, student"),
        (("training.learning_rate", "training.lr"), "student.0.training.lr: unknown setting"),
        (("student.baseline.training.learning_rate", "name.first"), "a setting of a table expected, str found"),
        (("high = 0.1", "high = -1.0\nlow = -2.0 #"), "learning_rate: -2.0 found, input should be greater than 0"),
        (("trials = 1", 'student = "nobody"'), "sweep.student: 'nobody' found, one of baseline, student expected"),
        (("trials = 1", "trials ="), "not valid TOML"),
        (('profile = "loihi1"', 'profile = "abacus"'), "profile 'abacus': not known"),
    ],
)
def test_a_mistake_in_the_space_is_named_before_anything_is_trained(cli, recipe, tmp_path, change, message):
    text = SPACE.replace("low = 0.05\n", "") if change[1].endswith("low = -2.0 #") else SPACE
    (tmp_path / "space.toml").write_text(text.replace(*change))
    outcome = cli("sweep", recipe, "--space", tmp_path / "space.toml", "--output", tmp_path / "s", "--device", "cpu")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "s" / "trials").exists()


def test_a_recipe_without_a_search_and_a_storage_that_is_not_one_are_refused(cli, recipe, tmp_path, swept):
    (tmp_path / "plain.toml").write_text(recipe.read_text().partition("[sweep]")[0])
    for arguments, message in (
        ([tmp_path / "plain.toml"], "no [sweep] found; add one with a [[sweep.parameter]], or name a file with --space"),
        ([recipe, "--space", tmp_path / "absent.toml"], "absent.toml: no such file"),
        ([recipe, "--storage", "abacus://x"], "abacus://x: no storage that Optuna can use"),
        ([tmp_path / "other.toml", "--output", swept], "holds a search of digits with other settings"),
    ):
        (tmp_path / "other.toml").write_text(recipe.read_text().replace("high = 1.0", "high = 2.0"))
        outcome = cli("sweep", *arguments, *(() if "--output" in arguments else ("--output", tmp_path / "s")))
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1


def test_a_sweep_of_which_no_trial_ends_well_is_a_failure_with_its_reasons(cli, recipe, tmp_path):
    text = SPACE.replace('profile = "loihi1"\nvalidation_samples = 100', "").replace("0.05", "1e30").replace("0.1", "2e30")
    (tmp_path / "space.toml").write_text(text.replace("baseline", "student"))
    outcome = cli("sweep", recipe, "--space", tmp_path / "space.toml", "--output", tmp_path / "s", "--device", "cpu")
    assert outcome.code == 1
    assert "no trial of 1 came to an end" in outcome.err
    assert "the loss is" in outcome.err


def test_torchrun_is_no_way_to_several_workers(cli, recipe, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = cli("sweep", recipe)
    assert outcome.code == 2
    assert "start the command several times instead of with torchrun" in outcome.err


def test_without_optuna_the_way_to_it_is_told(cli, recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    outcome = cli("sweep", recipe, "--output", tmp_path / "s")
    assert outcome.code == 2
    assert 'pip install "neurodeploy[sweep]"' in outcome.err


def test_the_example_names_an_embedded_recipe_with_a_search():
    assert command.EXAMPLE.split()[2] == load_space("digits").origin
