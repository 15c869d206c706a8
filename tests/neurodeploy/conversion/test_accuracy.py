"""What conversion is for, on real digits: three teachers, 500 test images each, 256 training images to calibrate with."""

from itertools import pairwise

import pytest

from neurodeploy.conversion import Method, convert

BALANCED = {
    "spiking": Method(),
    "activations": Method("activations", percentile=99.9),
    "error": Method("error"),
}
STEPS = (4, 16, 64, 128)
CALIBRATED = Method("error", shift=True, calibrate=True)


@pytest.mark.parametrize("method", BALANCED.values(), ids=BALANCED)
def test_accuracy_approaches_the_teachers_as_steps_grow(teachers, accuracy, converted, method):
    answers = [converted(steps, method) for steps in STEPS]
    for fewer, more in pairwise(answers):
        assert more.interval[1] > fewer.interval[0]
    assert answers[0].percent < answers[1].percent < answers[2].percent
    assert answers[-1].percent == pytest.approx(accuracy(*teachers).percent, abs=1.5)


@pytest.mark.parametrize("method", BALANCED.values(), ids=BALANCED)
def test_balanced_thresholds_beat_unbalanced_ones(converted, method):
    assert converted(64, method).interval[0] > converted(64, Method("one")).interval[1] + 10


@pytest.mark.parametrize("thresholds", ["spiking", "activations", "error"])
def test_bias_calibration_helps_at_few_steps_and_costs_nothing_at_many(converted, thresholds):
    plain, calibrated = Method(thresholds), Method(thresholds, calibrate=True)
    for steps in (4, 16):
        assert converted(steps, calibrated).percent > converted(steps, plain).percent + 1
    assert converted(64, calibrated).percent > converted(64, plain).percent - 1


def test_the_shift_helps_at_few_steps(converted):
    assert converted(4, Method(shift=True)).interval[0] > converted(4, Method()).interval[1]


def test_all_corrections_together_leave_few_steps_close_to_the_teacher(teachers, accuracy, converted):
    assert converted(4, CALIBRATED).percent > accuracy(*teachers).percent - 6
    assert converted(16, CALIBRATED).percent > accuracy(*teachers).percent - 1.5


def test_poisson_spikes_approach_the_teacher_too(teacher, spec, samples, accuracy):
    network = convert(teacher, spec, samples, steps=128, method=Method(percentile=99), code="poisson")
    assert accuracy(network).percent > accuracy(teacher).percent - 5


def test_repacts_relu_stays_and_calibration_corrects_it_too(teacher, spec, samples, accuracy):
    plain, calibrated = (
        convert(teacher, spec, samples, steps=16, method=method, repact=True) for method in (Method("error"), CALIBRATED)
    )
    assert type(calibrated.act3).__name__ == "ReLU"
    assert accuracy(calibrated).percent > accuracy(teacher).percent - 2
    assert accuracy(calibrated).percent > accuracy(plain).percent
