"""An option that does not apply is refused by its name, not ignored; and every command prints JSON on request."""

import inspect
import json

import numpy as np
import pytest

from neurodeploy.cli.main import app
from neurodeploy.data import Digits

MODULE = """
import torch
from torch import nn
import neurodeploy as nd
from neurodeploy.dynamics.layers import Conv2d, Flatten, TimeMean
from neurodeploy.dynamics.encodings import DirectEncoding

class Network(nn.Sequential):
    def forward(self, images):
        return super().forward(images.unsqueeze(0))

def make():
    torch.manual_seed(0)
    act = nd.LIF(threshold=0.4)
    return Network(Conv2d(1, 4, 3), DirectEncoding(steps=3), act, Flatten(), nn.Linear(144, 10), TimeMean())
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_network.py").write_text(MODULE)
    np.save(tmp_path / "x.npy", Digits().load().test_samples[:40].numpy())
    return "own_network:make"


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (("--written-by", "sinabs"), "says how a NIR file is understood"),
        (("--dt", "0.1"), "says how a NIR file is understood"),
        (("--reset", "hard"), "says how a NIR file is understood"),
        (("--input-shape", "1,8,8"), "says how a NIR file is understood"),
        (("--steps", "9"), "says how a NIR file is understood"),
        (("--input", "nowhere.npy"), "a checkpoint brings its own data"),
        (("--device", "cpu"), "exporting needs none; it belongs to --finetune"),
        (("--resume",), "belongs to a fine-tuning"),
        (("--chip-profile", "loihi1"), "no target has a chip"),
        (("--host-profile", "loihi1"), "no target has a chip"),
        (("--head-cut", "last-synapse"), "no option of onnx"),
    ],
)
def test_an_option_that_does_not_apply_to_the_export_of_a_checkpoint_is_refused(cli, tmp_path, student, option, why):
    outcome = cli("export", student, "--target", "onnx", "--output", tmp_path / "b", *option)
    assert outcome.code == 2
    assert option[0].lstrip("-") in outcome.err.partition(":")[2].partition(":")[0]
    assert why in outcome.err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "option", [("--finetune", "1"), ("--finetune-reset",), ("--resume",), ("--device", "cpu"), ("--dt", "0.1")]
)
def test_an_option_that_does_not_apply_to_the_export_of_a_module_is_refused(cli, tmp_path, module, option):
    outcome = cli("export", module, "--input", "x.npy", "--target", "onnx", "--output", "b", *option)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {option[0]}: ")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("option", [("--steps", "9"), ("--dt", "0.1"), ("--device", "cpu")])
def test_an_option_that_does_not_apply_to_energy_is_refused(cli, student, option):
    outcome = cli("energy", student, *option)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {option[0]}: ")


def test_a_module_is_exported_verified_and_accounted_for(cli, module):
    outcome = cli("export", module, "--input", "x.npy", "--target", "onnx", "--quantize", "exact", "--output", "b")
    assert outcome.code == 0, outcome.err
    assert cli("verify", "b/onnx").code == 0
    assert cli("energy", module, "--input", "x.npy", "--baseline", module).code == 0


def test_a_module_without_samples_is_refused(cli, module):
    outcome = cli("export", module, "--target", "onnx", "--output", "b")
    assert outcome.code == 2
    assert "give samples with --input" in outcome.err


def test_every_command_prints_json_on_request():
    commands = {str(one.name): one.callback for one in app.registered_commands}
    assert all("as_json" in inspect.signature(callback).parameters for callback in commands.values() if callback)
    assert len(commands) == 21


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("doctor",), "packages"),
        (("profiles",), "cmos45-fp32"),
        (("profiles", "loihi1"), "loihi1"),
        (("recipes", "digits"), "network"),
    ],
)
def test_json_is_all_that_is_printed(cli, arguments, key):
    outcome = cli(*arguments, "--json")
    assert outcome.code == 0
    assert key in json.loads(outcome.out)


def test_json_of_recipes_lists_them(cli):
    assert {"name", "description"} == set(json.loads(cli("recipes", "--json").out)[0])


def test_json_of_an_export_says_what_was_written(cli, tmp_path, student):
    outcome = cli("export", student, "--target", "onnx", "--target", "lava", "--samples", 4, "--output", tmp_path, "--json")
    written = json.loads(outcome.out)
    assert [one["target"] for one in written] == ["onnx", "lava"]
    assert written[0]["agreement"]["samples"] == 4
    assert written[1]["head_cut"]["chosen"] == "last-synapse"
    assert "last-spike" in written[1]["head_cut"]["why"]


def test_json_of_a_run_and_a_training_is_their_summary(cli, finished, recipe_file):
    run = cli("run", recipe_file, "--output", finished, "--resume", "--device", "cpu", "--json")
    assert json.loads(run.out) == json.loads((finished / "summary.json").read_text())
    trained = cli("train", recipe_file, "--output", finished, "--resume", "--device", "cpu", "--json")
    assert json.loads(trained.out) == json.loads((finished / "results.json").read_text())


def test_tables_have_the_names_of_the_recipe(cli, tmp_path, recipe_file):
    text = (
        recipe_file.read_text()
        .replace('"student"', '"quiet"')
        .replace('"baseline"', '"loud"')
        .replace("seeds = [0, 1]", "seeds = [0]")
    )
    (tmp_path / "named.toml").write_text(text.replace("epochs = 4", "epochs = 1"))
    outcome = cli("run", tmp_path / "named.toml", "--output", tmp_path / "run", "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert "│ quiet " in outcome.out
    assert "│ loud " in outcome.out
    assert "student" not in outcome.out
