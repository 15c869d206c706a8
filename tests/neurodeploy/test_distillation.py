"""Every loss term against an independent numpy computation of its printed formula."""

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.distillation import Activity, CrossEntropy, Laf, Logits, Response, TeacherOutput
from neurodeploy.networks import NetworkOutput


@pytest.fixture
def student() -> NetworkOutput:
    torch.manual_seed(1)
    logits, features = torch.randn(4, 6, 10).double(), torch.rand(4, 6, 7).double()
    taps = {"a": (torch.rand(4, 6, 3, 2, 2) > 0.5).float(), "b": (torch.rand(4, 6, 5) > 0.8).float()}
    return NetworkOutput(logits.mean(0), logits, features, taps)


@pytest.fixture
def teacher() -> TeacherOutput:
    torch.manual_seed(2)
    classifier, features = nn.Linear(7, 10).double(), torch.rand(1, 6, 7).double()
    logits = classifier(features).detach()
    return TeacherOutput(NetworkOutput(logits.mean(0), logits, features, {}), classifier)


LABELS = torch.tensor([0, 1, 2, 3, 4, 9])


def softmax(z):
    e = np.exp(z.astype(np.float64))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


def test_cross_entropy_is_taken_on_the_mean_over_time(student):
    expected = -np.log(softmax(student.step_logits.numpy().mean(0))[np.arange(6), LABELS]).mean()
    assert CrossEntropy()(student, None, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_response_is_the_tempered_divergence_from_teacher_to_student(student, teacher):
    p, q = (softmax(z.numpy() / 3) for z in (teacher.output.logits, student.logits))
    assert Response(temperature=3)(student, teacher, LABELS).item() == pytest.approx(9 * divergence(p, q), rel=1e-5)


def test_laf_judges_the_mean_student_feature_by_the_teachers_classifier(student, teacher):
    weight, bias = (parameter.detach().numpy() for parameter in teacher.classify.parameters())
    seen, wanted = (f.numpy().mean(0) @ weight.T + bias for f in (student.features, teacher.output.features))
    expected = 400 * divergence(softmax(wanted / 20), softmax(seen / 20))
    assert Laf()(student, teacher, LABELS).item() == pytest.approx(expected, rel=1e-9)


def test_laf_gradients_reach_the_students_features_and_not_the_frozen_teacher(student, teacher):
    teacher.classify.requires_grad_(False)
    features = student.features.clone().requires_grad_()
    Laf()(student._replace(features=features), teacher, LABELS).backward()
    assert features.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.classify.parameters())


def test_activity_sums_the_mean_spikes_or_squared_rates_of_the_layers(student):
    taps = [tap.numpy() for tap in student.taps.values()]
    assert Activity()(student, None, LABELS).item() == pytest.approx(sum(t.mean() for t in taps), rel=1e-5)
    expected = sum((t.mean(0) ** 2).mean() for t in taps)
    assert Activity(norm="l2")(student, None, LABELS).item() == pytest.approx(expected, rel=1e-5)


def test_logits_is_the_mean_square_or_size_of_the_output(student):
    z = student.logits.numpy()
    assert Logits()(student, None, LABELS).item() == pytest.approx((z**2).mean(), rel=1e-5)
    assert Logits(norm="l1")(student, None, LABELS).item() == pytest.approx(np.abs(z).mean(), rel=1e-5)
