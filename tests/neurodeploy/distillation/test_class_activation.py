"""Class-activation distillation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.distillation import ClassActivation
from neurodeploy.io.errors import UserError

CASES = st.tuples(*(st.integers(*limits) for limits in ((0, 999), (1, 4), (1, 3), (1, 3), (2, 4), (2, 4), (2, 5))))
"""Seed, T, B, C, H, W, K."""


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(-1).mean()


def scaled(maps):
    maps = maps - maps.min()
    return (maps / (maps.max() + 1e-3)).reshape(len(maps), -1)


@given(CASES)
def test_spikes_are_compared_with_the_map_of_the_class_that_the_teacher_predicts(drawn, case):
    student, teacher = drawn(*case)
    a, weights = teacher.output.taps["high"].detach().numpy()[0], teacher.classify.weight.numpy()
    predicted = teacher.output.logits.detach().numpy().argmax(-1)
    activation = np.maximum(0, [np.tensordot(weights[k], image, 1) for k, image in zip(predicted, a, strict=True)])
    spikes = student.taps["high"].detach().numpy().sum((0, 2))
    expected = 4 * divergence(softmax(scaled(activation) / 2), softmax(scaled(spikes) / 2))
    assert ClassActivation()(student, teacher, None).item() == pytest.approx(expected, abs=1e-12)


def test_it_is_zero_where_the_spike_map_is_the_class_activation_map(drawn):
    student, teacher = drawn(0, 1, 2, 1, 4, 4, 5)
    weights = teacher.classify.weight[teacher.output.logits.argmax(-1), 0]
    maps = teacher.output.taps["high"].detach() * weights.relu().reshape(1, 2, 1, 1, 1)
    alike = student._replace(taps=student.taps | {"high": maps})
    assert ClassActivation()(alike, teacher, None).item() == pytest.approx(0, abs=1e-12)


def test_a_last_map_of_one_pixel_is_passed_over_and_none_left_is_refused(drawn):
    student, teacher = drawn(0, 4, 2, 3, 1, 1, 5)
    few = student._replace(taps={name: student.taps[name] for name in ("high", "flat")})
    with pytest.raises(UserError, match="class-activation: teacher and student share no taps of more than one pixel"):
        ClassActivation()(few, teacher, None)


def test_a_classifier_that_does_not_read_the_pooled_channels_is_refused(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    fewer = student._replace(taps={"middle": student.taps["middle"]})
    with pytest.raises(UserError, match="classifier reads 3 features, its last spatial tap middle has 4 channels"):
        ClassActivation()(fewer, teacher, None)


def test_maps_of_unequal_sizes_are_refused(drawn):
    student, teacher = drawn(0, 4, 2, 3, 4, 4, 5)
    teacher.output.taps["high"] = teacher.output.taps["high"][..., :2]
    with pytest.raises(UserError, match=r"size \(4, 4\) in the student and \(4, 2\) in the teacher"):
        ClassActivation()(student, teacher, None)
