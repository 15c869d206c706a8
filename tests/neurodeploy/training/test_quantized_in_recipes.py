"""Recipes that train a ReLU network with activations of few levels, and make their students of it."""

import json
import sys
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import neurodeploy as nd
from neurodeploy.cli.main import main
from neurodeploy.conversion import QcfsNetwork, SpikingTwin
from neurodeploy.conversion.method import OF_LEVELS
from neurodeploy.conversion.traced import TracedNetwork
from neurodeploy.data import Digits
from neurodeploy.dynamics.kernels import native
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import load, parse
from neurodeploy.recipe.sections import TwinSettings
from neurodeploy.training import checkpoint
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.experiment import checkpoint_of, train_all
from neurodeploy.training.parallel import fabric_on

TEXT = """
name = "levels"
steps = 4
baseline = "untrained"
deployed = "tuned"
data = { kind = "digits" }
export = { targets = ["onnx"], samples = 4 }

[teacher]
network = { kind = "conv", channels = [8, 12], strides = [2, 1] }
epochs = 2

[[quantized]]
name = "q4"
levels = 4
training = { epochs = 2, optimizer = "adam", learning_rate = 0.002, warmup_epochs = 0 }
loss = [{ kind = "cross-entropy", weight = 0.5 }, { kind = "response", weight = 0.5 }, { kind = "feature", weight = 0.03 }]

[[quantized]]
name = "q1"
of = "q4"
levels = 1
percentile = 99
training = { epochs = 1, optimizer = "adam", learning_rate = 0.002, warmup_epochs = 0 }

[[student]]
name = "untrained"
spiking = { of = "q4" }
training = { epochs = 0 }

[[student]]
name = "tuned"
spiking = { of = "q4", learn_threshold = true }
training = { epochs = 1, optimizer = "adam", learning_rate = 0.001, warmup_epochs = 0 }
loss = [{ kind = "cross-entropy" }, { kind = "response", weight = 0.5 }, { kind = "feature", weight = 0.03 }]

[[student]]
name = "one-step"
steps = 1
spiking = { of = "q1", shift = true, calibrate = false }
training = { epochs = 0 }
"""
RECIPE, DATA = parse(TEXT, origin="levels"), Digits().load()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("levels")
    return root, {role: network for _, role, network in train_all(RECIPE, root, DATA)}


def test_networks_are_trained_in_the_order_in_which_they_are_made_of_one_another(finished):
    root, networks = finished
    assert list(networks) == ["teacher", "q4", "q1", "untrained", "tuned", "one-step"]
    assert isinstance(networks["q4"], QcfsNetwork)
    assert isinstance(networks["tuned"], SpikingTwin)
    lines = (root / "seed-0" / "q4" / "metrics.jsonl").read_text().splitlines()
    assert list(json.loads(lines[-1])["terms"]) == ["cross-entropy", "response", "feature"]


def test_a_student_begins_with_the_weights_and_thresholds_of_the_quantized_network(finished):
    _, networks = finished
    quantized, student = networks["q4"], networks["untrained"]
    assert student.reset == "soft"
    assert student.thresholds == pytest.approx(quantized.thresholds)
    assert quantized.thresholds != pytest.approx(nd.qcfs(networks["teacher"], DATA.train_samples[:256], levels=4).thresholds)
    name = student.spiking[0]
    weight = quantized.graph[name].inputs[0]
    assert torch.equal(student.get_submodule(weight).weight, quantized.get_submodule(weight).weight)


def test_a_student_of_one_step_answers_as_its_quantized_network_of_one_level(finished):
    _, networks = finished
    samples = DATA.test_samples[:100]
    with torch.no_grad():
        expected, answered = networks["q1"](samples).logits, networks["one-step"](samples).logits
    # one spike stands for the one level; only sums that end at the threshold itself may differ
    assert (expected.argmax(1) == answered.argmax(1)).float().mean() > 0.98


def test_a_checkpoint_makes_the_quantized_network_again(finished):
    root, networks = finished
    again = checkpoint.load(checkpoint_of(root, 0, "q4"))
    assert again.progress.relu
    with torch.no_grad():
        assert torch.equal(again.network(DATA.test_samples[:20]).logits, networks["q4"](DATA.test_samples[:20]).logits)


class Stopped(Exception):
    pass


@contextmanager
def stopping(title, *_lengths):
    """A watcher in whose second epoch of the quantized network the process ends."""

    def watch(epoch, _count):
        if "q4" in title and epoch == 1:
            raise Stopped

    yield watch


def test_a_run_that_was_killed_in_a_stage_ends_with_the_same_students(finished, tmp_path):
    _, networks = finished
    with pytest.raises(Stopped):
        list(train_all(RECIPE, tmp_path, DATA, watcher=stopping))
    assert checkpoint.load(checkpoint_of(tmp_path, 0, "q4")).progress.epoch == 1
    resumed = {role: network for _, role, network in train_all(RECIPE, tmp_path, DATA, resume=True)}
    for role in ("q4", "tuned"):
        for name, value in networks[role].state_dict().items():
            assert torch.equal(resumed[role].state_dict()[name], value), (role, name)


def test_in_bfloat16_all_of_it_is_learned_with_every_term_and_a_killed_run_ends_the_same(finished, tmp_path, monkeypatch):
    recipe = parse('precision = "bfloat16"\n' + TEXT, origin="levels")
    passes, real = [], TracedNetwork._in_bfloat16
    monkeypatch.setattr(TracedNetwork, "_in_bfloat16", lambda self, x: passes.append(type(self)) or real(self, x))

    def run(folder, **options):
        fabric = fabric_on("cpu", recipe.precision)
        return {role: network for _, role, network in train_all(recipe, folder, DATA, fabric=fabric, **options)}

    whole = run(tmp_path / "whole")
    if native.BUILD.result() is not None:
        assert set(passes) == {QcfsNetwork, SpikingTwin}
    with pytest.raises(Stopped):
        run(tmp_path / "cut", watcher=stopping)
    cut = run(tmp_path / "cut", resume=True)
    for role, network in whole.items():
        state = cut[role].state_dict()
        assert all(
            value.dtype != torch.bfloat16 and torch.equal(state[name], value) for name, value in network.state_dict().items()
        )
    right = {precision: networks["tuned"] for precision, networks in (("float32", finished[1]), ("bfloat16", whole))}
    found = [evaluate(network, DATA.test_samples, DATA.test_labels).accuracy.percent for network in right.values()]
    assert abs(found[0] - found[1]) < 5
    assert min(found) > 40  # a few short epochs


def test_from_the_command_line_every_network_has_its_row(tmp_path, capsys, monkeypatch):
    path, run = tmp_path / "levels.toml", tmp_path / "run"
    path.write_text(TEXT)

    def shown_by(*arguments):
        monkeypatch.setattr("sys.argv", ["neurodeploy", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
        return capsys.readouterr().out

    results = json.loads(shown_by("train", path, "--output", run, "--device", "cpu", "--json"))
    assert [network["role"] for network in results["networks"]] == list(RECIPE.roles)
    by_role = {network["role"]: network for network in results["networks"]}
    assert by_role["q4"]["steps"] is None
    assert by_role["q4"]["energy"] == by_role["teacher"]["energy"]  # as many multiply-accumulates
    assert by_role["tuned"]["steps"] == 4
    right = by_role["q4"]["correct"] / by_role["q4"]["samples"]
    assert f"{100 * right:.2f} %" in shown_by("evaluate", checkpoint_of(run, 0, "q4"))
    assert "untrained" in shown_by("compare", run)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('of = "q1"', 'of = "q2"', "student one-step: spiking.of: 'q2' found, one of [[quantized]] expected: q4, q1"),
        ('of = "q4"\nlevels', 'of = "q1"\nlevels', "quantized q1: of: 'q1' found, one of [[quantized]] above it expected: q4"),
        ('name = "q1"', 'name = "q4"', "quantized networks are named q4, q4; each needs a name of its own"),
        ('name = "q1"', 'name = "tuned"', "quantized networks are named q4, tuned; each needs a name of its own"),
        ("levels = 1\n", "levels = 0\n", "quantized.1.levels: 0 found, input should be greater than or equal to 1"),
        ("levels = 1\n", "level = 1\n", "quantized.1.level: unknown setting"),
        ("percentile = 99", "percentile = 101", "quantized.1.percentile: 101 found"),
        ("percentile = 99", "repact = true", "student one-step: repact: false found, true expected as in q1"),
        ('of = "q1"', 'of = "q1", classifier = "last"', "classifier: that of q1 is taken; say it there"),
    ],
)
def test_settings_of_a_quantized_network_that_do_not_fit_are_refused(old, new, message):
    assert old in TEXT
    with pytest.raises(UserError) as caught:
        parse(TEXT.replace(old, new), origin="x")
    assert message in str(caught.value)


def test_terms_that_do_not_suit_are_refused_before_anything_is_trained(tmp_path):
    text = TEXT.replace('{ kind = "feature", weight = 0.03 }]', '{ kind = "attention", taps = ["nowhere"] }]', 1)
    with pytest.raises(UserError, match="nowhere"):
        list(train_all(parse(text, origin="x"), tmp_path / "run", DATA))
    assert not (tmp_path / "run").exists()


def test_the_usual_method_of_a_twin_of_levels_is_that_of_python():
    settings = TwinSettings(of="q4")
    assert settings.usual_reset(4) == "soft"
    assert settings.method(4, "soft") == OF_LEVELS


MODULE = """
from torch import nn


def make(width=16):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
"""


def test_a_larger_teacher_teaches_what_is_made_of_another_module(tmp_path):
    (tmp_path / "modules_of_levels.py").write_text(MODULE)
    torch.manual_seed(0)
    for width in (8, 32):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        nd.distill(network, None, DATA, epochs=2, folder=tmp_path / f"w{width}", progress=False, learning_rate=0.01)
        save_file(network.state_dict(), tmp_path / f"w{width}.safetensors")
    start, end = TEXT.index("[teacher]"), TEXT.index("[[quantized]]")
    tables = "".join(
        f'[{role}]\nmodule = "modules_of_levels:make"\narguments = {{ width = {width} }}\nweights = "w{width}.safetensors"\n\n'
        for role, width in (("teacher", 32), ("source", 8))
    )
    text = (TEXT[:start] + tables + TEXT[end:]).replace(', { kind = "feature", weight = 0.03 }', "")
    path = tmp_path / "own.toml"
    path.write_text(text)
    try:
        recipe = load(str(path))
        assert recipe.dense_twin("tuned") == "source"
        networks = {role: network for _, role, network in train_all(recipe, tmp_path / "run", DATA)}
    finally:
        sys.modules.pop("modules_of_levels", None)
    assert list(networks)[:3] == ["teacher", "source", "q4"]
    assert networks["q4"].graph.shape(networks["q4"].quantized[0]) == (8,)
    assert networks["tuned"].graph.shape(networks["tuned"].spiking[0]) == (8,)


def test_a_source_that_nothing_is_made_of_is_refused():
    network = 'network = { kind = "conv", channels = [4], strides = [2] }'
    student = '[[student]]\nname = "{}"\ntraining = {{ epochs = 1 }}\n'
    start = TEXT[: TEXT.index("[[quantized]]")].replace("[teacher]", f"{network}\n[teacher]")
    text = f"{start}[source]\nepochs = 1\n{student.format('untrained')}{student.format('tuned')}"
    with pytest.raises(UserError, match="source: no student is made of it"):
        parse(text, origin="x")
