"""Recipes whose teacher is a module of the user's with a file of weights, from the command line."""

import json
import shutil
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import neurodeploy as nd
from neurodeploy.cli.main import main
from neurodeploy.conversion import Method
from neurodeploy.conversion.method import usual_method
from neurodeploy.data import Digits
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import load, parse
from neurodeploy.recipe.sections import TwinSettings
from neurodeploy.training import CHECKPOINT, checkpoint
from neurodeploy.training.experiment import checkpoint_of, silent, train_all
from neurodeploy.training.twins import untrained

MODULE = """
from torch import nn


def make(width=16, classes=10):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * width, classes)
    )
"""
RECIPE = """
name = "own"
steps = 2
baseline = "plain"
deployed = "taught"
data = {{ kind = "digits" }}
network = {{ kind = "conv", channels = [4, 6], strides = [2, 1] }}
export = {{ targets = ["onnx"], samples = 4 }}

[teacher]
module = "{module}:make"
arguments = {{ width = 4 }}
weights = "w.pt"
{teacher}

[[student]]
name = "plain"
training = {{ epochs = 1 }}

[[student]]
name = "taught"
training = {{ epochs = 1 }}
loss = [{{ kind = "cross-entropy" }}, {loss}]
"""


@pytest.fixture
def folder(tmp_path, request):
    """A recipe with the module and the weights that it names beside it; each test has a module of a name of its own."""
    name = f"own_teacher_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    space: dict = {}
    exec(MODULE, space)
    torch.manual_seed(0)
    network, data = space["make"](width=4), Digits().load()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(data.train_samples), data.train_labels).backward()
        optimizer.step()
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, tmp_path / "w.pt")

    def write(*, teacher: str = "", loss: str = '{ kind = "response" }'):
        path = tmp_path / "own.toml"
        path.write_text(RECIPE.format(module=name, teacher=teacher, loss=loss))
        return path

    yield write, network, data
    sys.modules.pop(name, None)


def command(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["neurodeploy", *map(str, arguments)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_it_is_evaluated_as_it_is_and_teaches_students_from_the_command_line(folder, tmp_path, monkeypatch, capsys):
    write, network, data = folder
    root = tmp_path / "run"
    code, text = command(monkeypatch, capsys, "train", write(), "--output", root, "--device", "cpu")
    assert code == 0, text
    text = " ".join(text.split())
    accuracy = nd.evaluate(network, data.test_samples, data.test_labels).accuracy
    assert f"test accuracy {accuracy}" in text
    assert "not trained here" in text
    assert "the prefix 'module.' of all names was removed" in text
    stored = checkpoint.load(checkpoint_of(root, 0, "teacher"))
    assert len(stored.progress.weights_sha256) == 64
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in stored.network.state_dict().items())
    lines = (root / "seed-0" / "taught" / "metrics.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])["terms"]) == {"cross-entropy", "response"}
    for role in ("teacher", "taught"):
        code, text = command(monkeypatch, capsys, "evaluate", checkpoint_of(root, 0, role), "--device", "cpu")
        assert (code, "accuracy" in text) == (0, True)
    code, text = command(monkeypatch, capsys, "train", write(), "--output", root, "--device", "cpu", "--resume")
    assert code == 0, text


def test_a_run_deploys_and_accounts_for_its_students(folder, tmp_path, monkeypatch, capsys):
    write, network, data = folder
    code, text = command(monkeypatch, capsys, "run", write(), "--output", tmp_path / "run", "--device", "cpu")
    assert code == 0, text
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["verify"]["onnx_mismatched_spikes"] == 0
    assert summary["teacher"]["accuracy"] == nd.evaluate(network, data.test_samples, data.test_labels).accuracy.percent
    assert "not trained here" in (tmp_path / "run" / "report.html").read_text()


def test_its_layers_are_found_or_named_for_terms_that_compare(folder, tmp_path):
    write, _, data = folder
    paired = 'taps = { act1 = "1" }'
    names = [name for name, _ in load(str(write())).build("taught", 1, 10).named_modules()]
    tap = next(name for name in names if name.startswith(("neuron", "spike", "act", "lif")))
    recipe = load(str(write(teacher=paired.replace("act1", tap), loss='{ kind = "attention" }')))
    assert [role for _, role, _ in train_all(recipe, tmp_path / "run", data)] == ["teacher", "plain", "taught"]
    by_the_term = load(str(write(loss=f'{{ kind = "attention", taps = {{ {tap} = "1" }} }}')))
    assert len(list(train_all(by_the_term, tmp_path / "by-the-term", data))) == 3
    with pytest.raises(UserError, match=r"loss term attention: no tap of the student .* is called as one of the teacher \(1\)"):
        list(train_all(load(str(write(loss='{ kind = "attention" }'))), tmp_path / "other", data))
    assert not (tmp_path / "other").exists()


def at_weights(change):
    def spoil(tmp_path):
        state = torch.load(tmp_path / "w.pt", weights_only=True)["state_dict"]
        torch.save(change(state), tmp_path / "w.pt")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda path: (path / "w.pt").unlink(), {}, r"w\.pt: no such file"),
        (at_weights(lambda s: {k: v for k, v in s.items() if k != "module.0.bias"}), {}, r"w\.pt: tensor 0\.bias is missing"),
        (at_weights(lambda s: s | {"module.9.bias": torch.ones(1)}), {}, r"w\.pt: tensor 9\.bias is none of"),
        (at_weights(lambda s: s | {"module.0.bias": torch.ones(7)}), {}, r"tensor 0\.bias: shape \[7\] found, \[4\] expected"),
        (at_weights(lambda s: s | {"module.0.bias": torch.full((4,), float("inf"))}), {}, r"tensor 0\.bias holds values"),
        (lambda path: torch.save(nn.Linear(1, 1), path / "w.pt"), {}, "a pickle that holds more than tensors"),
        (lambda _: None, {"loss": '{ kind = "laf" }'}, "loss term laf: features of 6 values found, the teacher's 64 expected"),
        (lambda _: None, {"teacher": 'classifier = "5"'}, "teacher: no layer '5'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(folder, tmp_path, spoil, options, message):
    write, _, data = folder
    spoil(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        list(train_all(load(str(write(**options))), tmp_path / "run", data))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('weights = "w.pt"', "epochs = 2"), "teacher: epochs: 2 found, 0 expected for a module"),
        (('weights = "w.pt"', 'network = { kind = "conv", channels = [4], strides = [1] }'), "two definitions of the teacher"),
        (('module = "', 'module = "own teacher'), "module: .* found, package.module:name expected"),
        (("arguments = { width = 4 }", "classifier = 3"), "classifier: 3 found"),
        (('module = "', 'module = "subprocess:getoutput" #'), "own: teacher.module 'subprocess:getoutput': .* of your own"),
    ],
)
def test_a_teacher_that_makes_no_sense_is_refused_by_its_setting(folder, change, message):
    write, _, _ = folder
    text = write().read_text().replace(*change)
    with pytest.raises(UserError, match=message):
        parse(text, origin="own")


def test_a_module_of_other_classes_is_refused(folder, tmp_path):
    write, _, data = folder
    path = write()
    path.write_text(path.read_text().replace("{ width = 4 }", "{ width = 4, classes = 7 }").replace('weights = "w.pt"', ""))
    with pytest.raises(UserError, match="teacher: answers for 7 classes, the data have 10"):
        list(train_all(load(str(path)), tmp_path / "run", data))


def test_a_network_of_the_recipe_takes_the_weights_of_a_checkpoint(tmp_path):
    text = """
name = "again"
steps = 2
baseline = "student"
deployed = "student"
data = { kind = "digits" }
network = { kind = "conv", channels = [4, 6], strides = [2, 1] }
teacher = { TEACHER }
[[student]]
name = "student"
training = { epochs = 1 }
loss = [{ kind = "laf" }]
"""
    data, before = Digits().load(), parse(text.replace("TEACHER", "epochs = 1"), origin="x")
    (_, _, teacher), *_ = train_all(before, tmp_path / "run", data)
    shutil.copy(tmp_path / "run" / "seed-0" / "teacher" / CHECKPOINT, tmp_path / "w.safetensors")
    (tmp_path / "again.toml").write_text(text.replace("TEACHER", 'weights = "w.safetensors"'))
    (_, _, taken), *_ = train_all(load(str(tmp_path / "again.toml")), tmp_path / "again", data)
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in taken.state_dict().items())
    with pytest.raises(UserError, match="epochs: 0 found, at least 1 expected for a ReLU network without weights or module"):
        parse(text.replace("TEACHER", "epochs = 0"), origin="x")
    save_file({}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="holds no tensor"):
        list(train_all(load(str(tmp_path / "again.toml")), tmp_path / "third", data))
    assert not (tmp_path / "third").exists()


TWINS = """
name = "twins"
steps = 8
baseline = "converted"
deployed = "tuned"
data = {{ kind = "digits" }}
export = {{ targets = ["onnx"], samples = 4 }}
{teacher}

[[student]]
name = "converted"
spiking = {{ percentile = 99.5, reset = "soft" }}
training = {{ epochs = 0 }}

[[student]]
name = "tuned"
spiking = {{ learn_threshold = true, reset = "soft" }}
{options}
training = {{ epochs = 1, learning_rate = 0.001 }}
loss = [{{ kind = "response" }}, {{ kind = "feature" }}, {{ kind = "laf" }}, {{ kind = "activity", weight = 0.1 }}]
"""
TUNED = '{ learn_threshold = true, reset = "soft" }'
OWN = """
[teacher]
module = "{module}:make"
arguments = {{ width = 4 }}
weights = "w.pt"
"""
TRAINED = """
network = {{ kind = "conv", channels = [6, 8], strides = [2, 1] }}
teacher = {{ epochs = 8 }}
"""


@pytest.mark.parametrize("teacher", [OWN, TRAINED], ids=["own module", "network of the recipe"])
def test_students_are_spiking_twins_of_their_teacher(folder, tmp_path, monkeypatch, capsys, teacher):
    write, _, data = folder
    module = load(str(write())).teacher.module.partition(":")[0]
    path = tmp_path / "twins.toml"
    path.write_text(TWINS.format(teacher=teacher.format(module=module), options=""))
    code, text = command(monkeypatch, capsys, "run", path, "--output", tmp_path / "run", "--device", "cpu")
    assert code == 0, text
    taught, converted, tuned = (checkpoint_of(tmp_path / "run", 0, role) for role in ("teacher", "converted", "tuned"))
    accuracies = {
        role.parent.name: nd.evaluate(checkpoint.load(role).network, data.test_samples, data.test_labels).accuracy.percent
        for role in (taught, converted, tuned)
    }
    assert accuracies["converted"] > accuracies["teacher"] - 10
    assert accuracies["tuned"] > accuracies["teacher"] - 5
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["verify"]["onnx_mismatched_spikes"] == 0
    loaded = checkpoint.load(tuned)
    assert type(loaded.network).__name__ == "SpikingTwin"
    assert loaded.network.steps == 8
    assert nd.energy(tuned, twin=taught, baseline=converted).total.spikes > 0
    assert command(monkeypatch, capsys, "evaluate", tuned, "--device", "cpu")[0] == 0


def test_a_twin_that_was_killed_goes_on_bit_for_bit(tmp_path):
    recipe = parse(TWINS.format(teacher=TRAINED.format(), options="").replace("epochs = 1,", "epochs = 3,"), origin="twins")
    data = Digits().load()
    *_, (_, _, whole) = train_all(recipe, tmp_path / "whole", data)

    class Stopped(Exception):
        pass

    class Watcher:
        def __call__(self, title, epochs, samples):
            return self if "tuned" in title else silent(title, epochs, samples)

        def __enter__(self):
            return self.stop

        def __exit__(self, *_):
            return None

        def stop(self, epoch, _):
            if epoch == 1:
                raise Stopped

    with pytest.raises(Stopped):
        list(train_all(recipe, tmp_path / "cut", data, watcher=Watcher()))
    *_, (_, _, cut) = train_all(recipe, tmp_path / "cut", data, resume=True)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in cut.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("network = ", "# "), "network: missing, teacher needs one"),
        ((f"spiking = {TUNED}", ""), "network: missing, tuned needs one"),
        (("[[student]]", 'code = "latency"\n[[student]]'), 'student converted: spiking: for the codes "direct" and "poisson"'),
        ((TUNED, '{ thresholds = "error", percentile = 90 }'), "percentile"),
        ((TUNED, "{ evaluate_after = 8 }"), "student tuned: spiking.evaluate_after: 8 found, from 0 to 7 of 8 time steps"),
        ((TUNED, "{ }\nneuron = { decay = 1.0 }"), "a spiking twin has IF neurons"),
        ((TUNED, "{ }\nconversion = { }"), "spiking and conversion: two ways"),
    ],
)
def test_twins_that_make_no_sense_are_refused_by_their_setting(change, message):
    teacher = OWN if "tuned needs one" in message else TRAINED
    text = TWINS.format(teacher=teacher.format(module="collections"), options="").replace(change[0], change[1], 1)
    with pytest.raises(UserError, match=message):
        parse(text, origin="twins")


@pytest.mark.parametrize(
    ("settings", "steps", "reset", "method"),
    [
        ({}, 4, "hard", usual_method(4, "hard")),
        ({}, 16, "soft", usual_method(16, "soft")),
        ({}, 64, "soft", usual_method(64, "soft")),
        ({"percentile": 99.0}, 4, "hard", Method("activations", 99.0, shift=True, calibrate=True)),
        ({"thresholds": "spiking"}, 4, "hard", Method("spiking", 99.9, shift=True, calibrate=True)),
        ({"calibrate": True}, 64, "soft", Method("error", calibrate=True)),
        ({"shift": False, "scale": 0.7}, 4, "hard", Method("activations", 99.9, scale=0.7, calibrate=True)),
        ({"shift": False, "scale": 0.7}, 4, "soft", Method("error", scale=0.7, calibrate=True)),
    ],
)
def test_what_a_recipe_does_not_say_of_a_twin_is_what_the_front_door_does(settings, steps, reset, method):
    assert TwinSettings(**settings).method(steps, reset) == method


def test_a_recipes_twin_of_many_steps_is_evaluated_late_unless_it_says_otherwise():
    text = TWINS.format(teacher=TRAINED.format(), options="").replace("steps = 8", "steps = 20")
    recipe = parse(text.replace(TUNED, '{ reset = "soft", evaluate_after = 5 }'), origin="twins")
    data = Digits().load()
    assert [untrained(recipe, role, data).evaluate_after for role in ("converted", "tuned")] == [10, 5]


def test_a_teacher_without_a_spiking_twin_is_refused_before_it_is_trained(tmp_path):
    text = TWINS.format(teacher=TRAINED.format(), options="").replace("[[student]]", "", 0)
    recipe = parse(text.replace('{ kind = "feature" }', '{ kind = "feature", taps = ["nowhere"] }'), origin="twins")
    with pytest.raises(UserError, match="feature: 'nowhere' is none of the taps that teacher and student share"):
        list(train_all(recipe, tmp_path / "run", Digits().load()))
    assert not (tmp_path / "run").exists()
