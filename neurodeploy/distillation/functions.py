"""Loss terms of a plain function of the user's."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.io.errors import UserError
from neurodeploy.io.signatures import OfFunction, settings_of
from neurodeploy.networks import NetworkOutput


class TermOfFunction(OfFunction, LossTerm):
    """`kind = "my_module:function"`: called as `LossTerm` is, with those of `student`, `teacher` and `labels` that it takes.

    A teacher is asked if the function has a parameter `teacher`.
    """

    needs_teacher: ClassVar[bool] = False

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:
        value: Tensor = self.called(student=student, teacher=teacher, labels=labels)
        return value


def term_function(kind: str, function: Callable[..., Any]) -> type[OfFunction]:
    """Settings of a function that is a loss term; see `neurodeploy.io.signatures.settings_of`.

    Raises:
        UserError: it has no parameter `student`.
    """
    ours = ("student", "teacher", "labels")
    settings = settings_of(TermOfFunction, kind, function, what="loss term", ours=ours)
    if "student" not in settings.takes:
        raise UserError(f"loss term {kind!r}: no parameter student found; a function (student, teacher, labels, …) expected")
    assert issubclass(settings, TermOfFunction)
    settings.needs_teacher = "teacher" in settings.takes
    return settings
