import json
import re

import pytest
import torch

from neurodeploy.distillation import Laf
from neurodeploy.dynamics.encoders import DirectCode, PoissonCode
from neurodeploy.dynamics.layers import CubaNeuron, LateResetNeuron, Neuron, ParametricNeuron, ThresholdNeuron
from neurodeploy.dynamics.surrogates import Triangle
from neurodeploy.io.errors import UserError
from neurodeploy.networks import Relu
from neurodeploy.recipe import built_in, load, parse, text_of, with_seeds
from neurodeploy.recipe.reading import parse_json

DIGITS = text_of("digits")


def test_the_embedded_recipe_trains_a_baseline_and_a_distilled_student():
    recipe = load("digits")
    assert recipe == built_in()["digits"]
    assert recipe.roles == ("teacher", "baseline", "student")
    student = recipe.student_named(recipe.deployed)
    assert student.repact
    assert any(isinstance(term, Laf) for term in student.loss)
    assert isinstance(recipe.activations("teacher"), Relu)
    assert recipe.activations("student").steps == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 4", "stepz = 4", "stepz: unknown setting"),
        ("steps = 4", "", "steps: missing"),
        ("steps = 4", 'steps = "four"', "steps: 'four' found"),
        ("steps = 4", "steps = 0", "steps: 0 found"),
        ("decay = 0.5", "decay = 1.25", "neuron.decay: 1.25 found"),
        ('kind = "rectangle", width = 1.0', 'kind = "rectangle", alpha = 1.0', "a rectangle takes width, not alpha"),
        ("strides = [1, 2, 1, 2]", "strides = [1, 2]", "2 strides found, 4 expected"),
        ('deployed = "student"', 'deployed = "studnet"', "no student is named 'studnet'"),
        ('name = "student"', 'name = "teacher"', "each needs a name of its own"),
        ("seeds = [0, 1, 2]", "seeds = [0, 0]", "a seed occurs twice"),
        ('kind = "laf"', 'kind = "laugh"', "student.1.loss.1"),
        ("weight = 0.1, temperature = 20.0", "weight = -1", "weight: -1 found"),
        ("[data]", "[data", "not valid TOML"),
        (
            "[data]",
            '[[augmentation]]\nkind = "event-flip"\n[data]',
            "augmentation event-flip: does not suit the static samples",
        ),
        ("[data]", '[[augmentation]]\nkind = "blur"\n[data]', "augmentation.0"),
        ("repact = true", "repact = true\nknown_teacher = 3", "student.1.known_teacher: 3 found"),
        ("[export]", "[export]\nfinetune = { epochs = 2 }", 'finetune: for targets = ["lava"] alone, onnx, lava found'),
        ("[export]", "[export]\nfinetune = { epochs = 0 }", "export.finetune.epochs: 0 found"),
        ("epochs = 40", "epochs = 40\npatience = 3", "teacher: patience and validation_samples belong together"),
    ],
)
def test_a_faulty_setting_is_named_with_what_was_found(old, new, message):
    assert old in DIGITS
    with pytest.raises(UserError) as caught:
        parse(DIGITS.replace(old, new, 1), origin="my.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.toml: ")
    assert "\n" not in str(caught.value)


SHAPES = {
    "digits": (1, 10),
    "cifar10": (3, 10),
    "cifar10-dvs": (2, 10),
    "cifar100": (3, 100),
    "tiny-imagenet": (3, 200),
    "speech-commands": (10, 35),
    "fsdd": (1, 10),
}
"""Channels and classes of the data of embedded recipes."""


@pytest.mark.parametrize("name", built_in())
def test_every_embedded_recipe_says_what_it_does_and_its_networks_can_be_built(name):
    recipe = load(name)
    assert recipe.name == name
    assert recipe.description
    channels, classes = SHAPES[recipe.data.kind]
    for role in recipe.roles:
        if recipe.network_of(role) is not None:
            network = recipe.network_of(role).build(channels, classes, recipe.activations(role))
            assert network.classifier.out_features == classes
        elif role in recipe.relu_roles:  # a module with weights of others
            answer = recipe.build(role, channels, classes).eval()(torch.zeros(1, channels, 32, 32))
            assert answer.shape == (1, classes)
        else:
            assert recipe.beginning_of(role) in recipe.roles


NEURONS = {
    'kind = "parametric"': ParametricNeuron,
    'kind = "parametric"\nlearn_threshold = true': ParametricNeuron,
    'kind = "threshold"\nlearn_threshold = true': ThresholdNeuron,
    'kind = "late-reset"\nlearn_threshold = true': LateResetNeuron,
    'kind = "cuba"\ncurrent_decay = 0.75\ndetach_reset = true': CubaNeuron,
    'kind = "lif"': Neuron,
}


@pytest.mark.parametrize("text", NEURONS)
def test_a_recipe_names_its_kind_of_neuron(text):
    digits = DIGITS.replace('reset = "hard"', 'reset = "soft"') if "late" in text else DIGITS
    neuron = parse(digits.replace("[neuron]", f"[neuron]\n{text}"), origin="x").neuron.build()
    assert type(neuron) is NEURONS[text]
    assert neuron.detach_reset is ("detach_reset" in text)
    assert (getattr(neuron, "log_threshold", None) is not None) is ("learn_threshold" in text)
    assert getattr(neuron, "current_decay", 0.75) == 0.75


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "learn_threshold = true",
            'learn_threshold belongs to kind = "late-reset", "parametric" and "threshold", \'lif\' found',
        ),
        ("current_decay = 0.5", "current_decay belongs to kind = \"cuba\", 'lif' found"),
        ('kind = "cuba"', "neuron.current_decay: missing, give it a value"),
        (
            'kind = "izhikevich"',
            "neuron.kind: 'izhikevich' found, one of 'cuba', 'late-reset', 'lif', 'parametric', 'threshold' expected",
        ),
    ],
)
def test_a_constant_that_a_kind_of_neuron_does_not_take_is_refused(text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(DIGITS.replace("[neuron]", f"[neuron]\n{text}"), origin="x")


OLD = {"decay": 0.5, "threshold": 0.5, "reset": "hard", "learn_threshold": None, "current_decay": None, "detach_reset": False}


@pytest.mark.parametrize(
    ("kind", "constants", "layer"),
    [
        ("lif", {}, Neuron),
        ("parametric", {}, ParametricNeuron),
        ("threshold", {"learn_threshold": True}, ThresholdNeuron),
        ("cuba", {"current_decay": 0.75}, CubaNeuron),
    ],
)
def test_neurons_as_version_0_1_stored_them_are_read(kind, constants, layer):
    content = json.loads(parse(DIGITS, origin="x").model_dump_json())
    content["neuron"] = OLD | {"kind": kind, "surrogate": content["neuron"]["surrogate"]} | constants
    recipe = parse_json(json.dumps(content), origin="x")
    assert type(recipe.neuron.build()) is layer
    assert parse_json(recipe.model_dump_json(), origin="x") == recipe


def test_known_answers_of_the_teacher_exclude_augmentation():
    text = DIGITS.replace("repact = true", "repact = true\nknown_teacher = true")
    assert parse(text, origin="x").student_named("student").known_teacher
    with pytest.raises(UserError, match="known_teacher: its answers belong to samples without augmentation"):
        parse(text.replace("[data]", '[[augmentation]]\nkind = "flip"\n[data]'), origin="x")


def test_steps_of_event_data_are_their_frames():
    text = DIGITS.replace('kind = "digits"', 'kind = "nmnist"\nbins = 4')
    assert parse(text, origin="x").activations("student").code == "events"
    assert parse(text, origin="x").activations("teacher").events
    with pytest.raises(UserError, match="steps: 4 found, the 6 event frames of the data expected"):
        parse(text.replace("bins = 4", "bins = 6"), origin="x")
    with pytest.raises(UserError, match="augmentation autoaugment: does not suit the event frames of nmnist"):
        parse(text.replace("[data]", '[[augmentation]]\nkind = "autoaugment"\n[data]'), origin="x")


def test_a_student_may_have_a_code_of_its_own():
    text = DIGITS.replace("repact = true", 'repact = true\ncode = "poisson"')
    recipe = parse(text, origin="x")
    assert (recipe.code_of("baseline"), recipe.code_of("student")) == (DirectCode(), PoissonCode())
    assert recipe.activations("student").code == PoissonCode()
    signed = text.replace('code = "poisson"', 'code = { kind = "poisson", signed = true }')
    assert parse(signed, origin="x").activations("student").entry().signed
    with pytest.raises(UserError, match="student student: code: 'poisson' found, but samples of nmnist are events"):
        parse(text.replace('kind = "digits"', 'kind = "nmnist"\nbins = 4'), origin="x")


def test_a_student_may_have_time_steps_of_its_own():
    text = DIGITS.replace("repact = true", "repact = true\nsteps = 2")
    recipe = parse(text, origin="x")
    assert (recipe.steps_of("baseline"), recipe.steps_of("student")) == (4, 2)
    assert recipe.activations("student").steps == 2
    with pytest.raises(UserError, match="student student: steps: 2 found, the 4 event frames of the data expected"):
        parse(text.replace('kind = "digits"', 'kind = "nmnist"\nbins = 4'), origin="x")


def test_every_fault_is_reported_at_once():
    with pytest.raises(UserError, match=r"steps: .*neuron\.decay: "):
        parse(DIGITS.replace("steps = 4", "steps = 0").replace("decay = 0.5", "decay = 2"), origin="x")


def test_a_message_stays_readable_however_much_is_at_fault():
    many = DIGITS.replace("training = {", "tr = {") + "".join(f"\n[[student]]\nnaem = {number}" for number in range(40))
    for text in (many, DIGITS.replace('"cross-entropy"', f'"{"[" * 9000}"'), DIGITS.replace('"laf"', f'"{"x" * 9000}"')):
        with pytest.raises(UserError) as caught:
            parse(text, origin="my.toml")
        assert len(str(caught.value)) < 1500
        assert "student." in str(caught.value)
    with pytest.raises(UserError, match=r"; and \d+ more$"):
        parse(many, origin="my.toml")


def test_a_recipe_file_is_read_and_a_missing_or_binary_one_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(DIGITS.replace('{ kind = "rectangle", width = 1.0 }', '{ kind = "triangle", gamma = 0.5 }'))
    assert load(str(path)).neuron.surrogate.build() == Triangle(0.5)
    with pytest.raises(UserError, match="no such recipe file"):
        load(str(tmp_path / "absent.toml"))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no UTF-8 text"):
        load(str(path))
    with pytest.raises(UserError, match="no embedded recipe"):
        text_of("absent")


def test_seeds_can_be_replaced_by_different_ones_from_zero_upwards():
    recipe = load("digits")
    assert with_seeds(recipe, ()) is recipe
    assert with_seeds(recipe, (7,)).seeds == (7,)
    for seeds in ((1, 1), (-1,)):
        with pytest.raises(UserError, match="different numbers"):
            with_seeds(recipe, seeds)
