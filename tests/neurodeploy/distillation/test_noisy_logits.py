"""Noise-smoothed logits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import NoisyLogits, Response

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


@given(CASES)
def test_the_students_logits_are_blurred_by_noise_of_their_own_mean_and_deviation(drawn, case):
    student, teacher = drawn(*case)
    z, wanted = student.logits.detach().numpy(), teacher.output.logits.detach().numpy()
    torch.manual_seed(case[0])
    unit = torch.randn(z.shape, dtype=torch.float64).numpy()
    noise = z.mean(-1, keepdims=True) + z.std(-1, ddof=1, keepdims=True) * unit
    expected = 4 * divergence(softmax(wanted / 2), softmax((z + 0.1 * noise) / 2))
    torch.manual_seed(case[0])
    assert NoisyLogits()(student, teacher, None).item() == pytest.approx(expected)


def test_without_noise_it_is_response_distillation(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    value = NoisyLogits(noise=0)(student, teacher, None).item()
    assert value == pytest.approx(Response(temperature=2)(student, teacher, None).item())


@given(CASES)
def test_the_noise_is_a_constant_for_the_gradient(drawn, case):
    student, teacher = drawn(*case)
    student.logits.retain_grad()
    z, wanted = student.logits.detach().numpy(), teacher.output.logits.detach().numpy()
    torch.manual_seed(case[0])
    noise = z.mean(-1, keepdims=True) + z.std(-1, ddof=1, keepdims=True) * torch.randn(z.shape, dtype=torch.float64).numpy()
    torch.manual_seed(case[0])
    NoisyLogits(noise=1)(student, teacher, None).backward()
    expected = 2 * (softmax((z + noise) / 2) - softmax(wanted / 2)) / case[2]
    np.testing.assert_allclose(student.logits.grad.numpy(), expected, atol=1e-12)


def test_logits_that_are_all_equal_give_finite_gradients(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    z = torch.ones(2, 5, dtype=torch.float64, requires_grad=True)
    NoisyLogits()(student._replace(logits=z), teacher, None).backward()
    assert np.isfinite(z.grad.numpy()).all()
