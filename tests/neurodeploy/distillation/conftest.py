"""Random answers of a student and its teacher, from a seed and their sizes."""

import pytest
import torch
from torch import nn

from neurodeploy.distillation import TeacherOutput
from neurodeploy.networks import NetworkOutput


def _drawn(
    seed: int, steps: int, batch: int, channels: int, height: int, width: int, classes: int, teacher_steps: int = 1
) -> tuple[NetworkOutput, TeacherOutput]:
    """Everything is double and a leaf that asks for its gradient, the teacher's frozen classifier apart."""
    torch.manual_seed(seed)
    shapes = {
        "low": (channels, height, width),
        "middle": (channels + 1, height, width),
        "upper": (channels, height + 1, width),
        "high": (channels, height, width),
        "flat": (channels,),
    }
    spikes = {name: (torch.rand(steps, batch, *shape) < 0.4).double().requires_grad_() for name, shape in shapes.items()}
    step_logits = torch.randn(steps, batch, classes).double().requires_grad_()
    student = NetworkOutput(step_logits.mean(0), step_logits, spikes["high"].mean((-2, -1)), spikes)
    draw = torch.randn if teacher_steps == 1 else lambda *shape: (torch.rand(*shape) < 0.4).float()
    activations = {name: draw(teacher_steps, batch, *shape).double().relu().requires_grad_() for name, shape in shapes.items()}
    classifier = nn.Linear(channels, classes).double().requires_grad_(False)
    features = activations["high"].mean((-2, -1))
    logits = 3 * classifier(features)
    gradients = {name: torch.randn_like(tap) for name, tap in activations.items()}
    return student, TeacherOutput(NetworkOutput(logits.mean(0), logits, features, activations), classifier, gradients)


@pytest.fixture(scope="session")
def drawn():
    return _drawn


@pytest.fixture(scope="session")
def labels():
    """Labels `[B]` for a drawn batch: 0, 1, …, as often as the classes allow."""
    return lambda batch, classes: torch.arange(batch) % classes
