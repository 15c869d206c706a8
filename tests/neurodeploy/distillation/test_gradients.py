"""Where the gradients of the distillation terms go."""

import pytest
from pydantic import TypeAdapter

from neurodeploy.distillation import AnyLossTerm

TERM = TypeAdapter(AnyLossTerm)
TERMS = [
    {"kind": "response"},
    {"kind": "laf"},
    {"kind": "feature"},
    {"kind": "attention"},
    {"kind": "attention", "variant": "scalar"},
    {"kind": "attention", "variant": "mean-square"},
    {"kind": "cross-entropy", "over_time": "sum"},
    {"kind": "spike-attention"},
    {"kind": "spike-tensor"},
    {"kind": "full-range"},
    {"kind": "head-tail"},
    {"kind": "class-activation"},
    {"kind": "noisy-logits"},
    {"kind": "tet"},
    # the last two: they refuse a single time step
    {"kind": "spike-attention", "times": "previous"},
    {"kind": "self-distillation"},
]


@pytest.mark.parametrize(
    ("settings", "steps"), [(settings, 4) for settings in TERMS] + [(settings, 1) for settings in TERMS[:-2]]
)
def test_gradients_reach_the_student_and_never_the_teacher(drawn, labels, settings, steps):
    student, teacher = drawn(1, steps, 3, 2, 3, 3, 4)
    value = TERM.validate_python(settings)(student, teacher, labels(3, 4))
    assert value.ndim == 0
    value.backward()
    gradients = [tensor.grad for tensor in (student.step_logits, *student.taps.values()) if tensor.grad is not None]
    assert sum(gradient.abs().sum() for gradient in gradients) > 0
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(tap.grad is None for tap in teacher.output.taps.values())
    assert all(parameter.grad is None for parameter in teacher.classify.parameters())


def test_each_kind_builds_the_class_of_its_name():
    for settings in TERMS:
        term = TERM.validate_python(settings)
        assert term.kind == settings["kind"]
        assert type(term).__name__.lower() == term.kind.replace("-", "")
