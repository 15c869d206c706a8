"""Every term at work: a tiny student of real digits, trained through the public loop."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe, parse
from neurodeploy.training import METRICS, freeze, train

TEXT = """
name = "tiny"
steps = {steps}
baseline = "student"
deployed = "student"
teacher = {{ epochs = 4, batch_size = 32, learning_rate = 0.1 }}
data = {{ kind = "digits" }}
network = {{ kind = "conv", channels = [4, 6, 8], strides = [1, 2, 1] }}
neuron = {{ decay = 0.5, threshold = 1.0 }}
[[student]]
name = "student"
training = {{ epochs = 3, batch_size = 32, learning_rate = 0.05, warmup_epochs = 0 }}
loss = [{loss}]
"""
TERMS = {
    "feature": "",
    "attention": "",
    "attention-scalar": 'variant = "scalar"',
    "attention-mean-square": 'variant = "mean-square"',
    "spike-attention": 'taps = ["act2"]',
    "spike-attention-previous": 'taps = ["act2"], times = "previous"',
    "spike-tensor": "window = 3",
    "full-range": "",
    "head-tail": "",
    "class-activation": "",
    "noisy-logits": "",
    "tet": "regularisation = 0.05",
    "self-distillation": "",
}


def recipe(*losses: str, steps: int = 3) -> Recipe:
    return parse(TEXT.format(loss=", ".join(losses), steps=steps), origin="tiny")


def loss_of(name: str) -> str:
    kind, settings = name, TERMS[name]
    for variant in ("-scalar", "-mean-square", "-previous"):
        kind = kind.removesuffix(variant)
    return f'{{ kind = "{kind}", weight = 1{", " + settings if settings else ""} }}'


PLAIN = recipe('{ kind = "cross-entropy" }')
WHOLE = PLAIN.data.load()
DATA = replace(WHOLE, train_samples=WHOLE.train_samples[:256], train_labels=WHOLE.train_labels[:256])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    network = freeze(train(PLAIN, "teacher", 0, tmp_path_factory.mktemp("teacher"), data=DATA))
    network.zero_grad()
    return network


def losses(folder) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / METRICS).read_text().splitlines()]


@pytest.mark.parametrize("name", TERMS)
def test_a_student_trained_with_the_term_alone_makes_it_smaller(teacher, tmp_path, name):
    train(recipe(loss_of(name)), "student", 0, tmp_path, data=DATA, teacher=teacher)
    values = losses(tmp_path)
    assert values[-1] < values[0]


@pytest.mark.parametrize("name", [name for name in TERMS if name not in ("self-distillation", "spike-attention-previous")])
def test_one_time_step_is_enough_for_the_term(teacher, tmp_path, name):
    train(recipe(loss_of(name), steps=1), "student", 0, tmp_path, data=DATA, teacher=teacher)
    values = losses(tmp_path)
    assert values[-1] < values[0]


def test_spike_tensors_are_distilled_from_a_spiking_teacher_too(tmp_path):
    spiking = freeze(train(PLAIN, "student", 0, tmp_path / "teacher", data=DATA))
    train(recipe(loss_of("spike-tensor")), "student", 1, tmp_path / "student", data=DATA, teacher=spiking)
    values = losses(tmp_path / "student")
    assert values[-1] < values[0]


def test_noise_is_drawn_from_the_epochs_seed_so_that_a_run_repeats_exactly(teacher, tmp_path):
    noisy = recipe(loss_of("noisy-logits"))
    runs = [train(noisy, "student", 0, tmp_path / name, data=DATA, teacher=teacher) for name in "ab"]
    a, b = (list(network.parameters()) for network in runs)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Watched(nn.Module):
    """A teacher that notes whether its forward pass records gradients."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.recorded = network, []
        self.classifier = network.classifier

    def forward(self, x):
        self.recorded.append(torch.is_grad_enabled())
        return self.network(x)


@pytest.mark.parametrize(("name", "recorded"), [("attention", False), ("spike-attention", True)])
def test_the_teachers_gradients_are_computed_only_for_a_term_that_needs_them(teacher, tmp_path, name, recorded):
    watched = Watched(teacher)
    train(recipe(loss_of(name), '{ kind = "cross-entropy" }'), "student", 0, tmp_path, data=DATA, teacher=watched)
    assert set(watched.recorded) == {recorded}
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_misspelt_tap_ends_the_training_in_one_line(teacher, tmp_path):
    with pytest.raises(UserError, match="feature: 'act9' is none of the taps that teacher and student share: act1, act2, act3"):
        train(recipe('{ kind = "feature", taps = ["act9"] }'), "student", 0, tmp_path, data=DATA, teacher=teacher)
