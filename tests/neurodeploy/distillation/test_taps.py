"""Which taps terms accept."""

import pytest
from pydantic import TypeAdapter, ValidationError

from neurodeploy.distillation import AnyLossTerm
from neurodeploy.io.errors import UserError

TERM = TypeAdapter(AnyLossTerm)
WITH_TAPS = ["feature", "attention", "spike-attention", "spike-tensor"]


@pytest.mark.parametrize("kind", WITH_TAPS)
def test_an_unknown_tap_is_refused_at_the_first_call_and_the_existing_ones_are_told(drawn, kind):
    student, teacher = drawn(0, 2, 2, 3, 4, 4, 5)
    term = TERM.validate_python({"kind": kind, "taps": ["low", "hgih"]})
    with pytest.raises(UserError, match=f"{kind}: 'hgih' is none of the taps .*: low, middle, upper, high"):
        term(student, teacher, None)


@pytest.mark.parametrize("kind", WITH_TAPS)
def test_a_tap_named_twice_and_an_empty_list_are_refused_in_the_recipe(kind):
    with pytest.raises(ValidationError, match="low, low: a tap is named twice"):
        TERM.validate_python({"kind": kind, "taps": ["low", "low"]})
    with pytest.raises(ValidationError, match="at least 1 item"):
        TERM.validate_python({"kind": kind, "taps": []})


@pytest.mark.parametrize("kind", [*WITH_TAPS, "class-activation"])
def test_networks_that_share_no_tap_are_refused(drawn, kind):
    student, teacher = drawn(0, 2, 2, 3, 4, 4, 5)
    strange = student._replace(taps={"elsewhere": student.taps["low"]})
    with pytest.raises(UserError, match=f"{kind}: teacher and student share no taps"):
        TERM.validate_python({"kind": kind})(strange, teacher, None)
