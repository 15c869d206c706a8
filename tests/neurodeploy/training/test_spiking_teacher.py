"""A student of a recipe that is taught by another one: a spiking teacher (Kushawaha et al. 2021)."""

import json

import pytest
import torch

import neurodeploy as nd
from neurodeploy.cli.main import main
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe, parse
from neurodeploy.training import METRICS, checkpoint
from neurodeploy.training.experiment import checkpoint_of, folder_of, train_all

TEXT = """
name = "spiking-teacher"
steps = 3
baseline = "large"
deployed = "small"
data = { kind = "digits" }
network = { kind = "conv", channels = [6, 8], strides = [2, 2] }
neuron = { decay = 0.5, threshold = 1.0 }
teacher = { epochs = 2, network = { kind = "conv", channels = [12, 8], strides = [2, 2] } }

[[student]]
name = "large"
spiking = { reset = "soft" }
training = { epochs = 1, optimizer = "adam", learning_rate = 1e-3 }

[[student]]
name = "small"
teacher = "large"
training = { epochs = 2 }
loss = [{ kind = "cross-entropy" }, { kind = "spike-tensor", taps = ["act2"] }, { kind = "response" }]
"""
RECIPE = parse(TEXT, origin="spiking-teacher")
DATA = RECIPE.data.load()


def changed(old: str, new: str) -> Recipe:
    assert old in TEXT
    return parse(TEXT.replace(old, new, 1), origin="changed")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spiking-teacher")
    list(train_all(RECIPE, folder, DATA))
    return folder


def test_a_student_is_taught_by_the_spikes_of_another_one(root):
    assert [RECIPE.teacher_of(role) for role in RECIPE.roles] == [None, None, "large"]
    lines = (folder_of(root, 0, "small") / METRICS).read_text().splitlines()
    terms = [json.loads(line)["terms"] for line in lines]
    assert terms[-1]["spike-tensor"] < terms[0]["spike-tensor"]
    large = checkpoint.load(checkpoint_of(root, 0, "large")).network
    assert any(isinstance(module, Neuron) for module in large.modules())


def test_the_value_of_the_term_is_that_of_the_trained_spiking_networks_windows(root):
    small, large = (checkpoint.load(checkpoint_of(root, 0, role)).network for role in ("small", "large"))
    x, y = DATA.test_samples[:20], DATA.test_labels[:20]
    with torch.no_grad():
        student, taught = small(x), large(x)
        term = nd.losses.SpikeTensor(taps=("act2",))
        value = term(student, nd.distillation.TeacherOutput(taught, large.get_submodule("classifier")), y)
    s, t = student.taps["act2"], taught.taps["act2"]
    expected = torch.stack([(s[k] + s[k + 1] - t[k] - t[k + 1]).square().mean() for k in range(2)]).mean()
    assert set(t.unique().tolist()) == {0.0, 1.0}
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_run_with_a_spiking_teacher_goes_on_where_it_was_killed(root, tmp_path):
    class Stopped(Exception):
        pass

    class Watcher:
        def __call__(self, title, epochs, samples):  # noqa: ARG002
            self.small = "small" in title
            return self

        def __enter__(self):
            def watch(epoch, _count):
                if self.small and epoch == 1:
                    raise Stopped

            return watch

        def __exit__(self, *_):
            return False

    with pytest.raises(Stopped):
        list(train_all(RECIPE, tmp_path, DATA, watcher=Watcher()))
    list(train_all(RECIPE, tmp_path, DATA, resume=True))
    whole, resumed = (checkpoint.load(checkpoint_of(folder, 0, "small")).network.state_dict() for folder in (root, tmp_path))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('teacher = "large"', 'teacher = "larger"', "student small: teacher: 'larger' found, one of the students above it"),
        ('teacher = "large"', 'teacher = "small"', "student small: teacher: 'small' found, one of the students above it"),
        (
            '{ kind = "spike-tensor", taps = ["act2"] }, { kind = "response" }',
            "",
            "teacher: 'large' found, but no loss term asks",
        ),
    ],
)
def test_a_spiking_teacher_that_cannot_be_is_refused(old, new, message):
    with pytest.raises(UserError) as caught:
        changed(old, new)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('teacher = "large"', 'teacher = "large"\nsteps = 2', "tap act2 has 2 time steps in the student and 3 in the teacher"),
        ('taps = ["act2"]', 'taps = ["act1"]', r"tap act1 has the shape \(6, 4, 4\) in the student and \(12, 4, 4\) in the"),
        ('taps = ["act2"]', 'taps = ["act9"]', "'act9' is none of the taps that teacher and student share: act1, act2"),
    ],
)
def test_a_pair_that_does_not_suit_is_refused_before_anything_is_trained(tmp_path, old, new, message):
    with pytest.raises(UserError, match=message):
        next(train_all(changed(old, new), tmp_path / "run", DATA))
    assert not (tmp_path / "run").exists()


def test_the_student_that_teaches_may_be_trained_from_the_start_too(tmp_path):
    text = TEXT.replace('spiking = { reset = "soft" }', "neuron = { decay = 0.7 }").replace(', taps = ["act2"]', "")
    networks = {role: network for _, role, network in train_all(parse(text, origin="x"), tmp_path, DATA)}
    assert networks["large"].act1.constants.decay == pytest.approx(0.7)
    assert not any(weight.requires_grad for weight in networks["large"].parameters())
    assert all(weight.requires_grad for weight in networks["small"].parameters())


def test_a_student_with_a_spiking_teacher_is_exported_verified_and_counted(root, tmp_path):
    model = nd.load(checkpoint_of(root, 0, "small"))
    assert nd.verify(nd.export(model, "onnx", tmp_path / "onnx")).passed
    assert nd.energy(model, DATA.test_samples[:20]).total.spikes > 0


OWN_TERM = """
def distance(student, teacher):
    assert teacher.output.step_logits.shape == student.step_logits.shape
    return (student.logits - teacher.output.logits).square().mean()
"""


def test_a_loss_term_of_ones_own_is_tried_on_the_spiking_teachers_answers(tmp_path, monkeypatch):
    (tmp_path / "own_distance.py").write_text(OWN_TERM)
    monkeypatch.syspath_prepend(tmp_path)
    own = changed('{ kind = "response" }', '{ kind = "own_distance:distance", weight = 0.01 }')
    list(train_all(own, tmp_path / "run", DATA))
    lines = (folder_of(tmp_path / "run", 0, "small") / METRICS).read_text().splitlines()
    assert all(json.loads(line)["terms"]["own_distance:distance"] > 0 for line in lines)


def test_a_sweep_trains_the_spiking_teacher_of_its_student_in_each_trial(tmp_path, monkeypatch):
    pytest.importorskip("optuna", reason="optuna is not installed")
    path = tmp_path / "spiking-teacher.toml"
    parameter = '[[sweep.parameter]]\npath = "student.small.loss.spike-tensor.weight"\nlow = 0.1\nhigh = 1.0\n'
    path.write_text(f"{TEXT}\n[sweep]\ntrials = 2\n{parameter}")
    arguments = ["neurodeploy", "sweep", str(path), "--output", str(tmp_path / "sweep"), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    for trial in ("0", "1"):
        assert checkpoint_of(tmp_path / "sweep" / "trials" / trial, 0, "large").is_file()
        assert checkpoint_of(tmp_path / "sweep" / "trials" / trial, 0, "small").is_file()
