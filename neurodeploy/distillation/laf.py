"""LAF loss: student features are judged by the teacher's own classifier."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput, soft_divergence
from neurodeploy.errors import UserError
from neurodeploy.networks import NetworkOutput


class Laf(LossTerm):
    """`τ² KL(softmax(g(f_T)/τ) ‖ softmax(g(mean_t f_S(t))/τ))`, with `g` the frozen classifier of the teacher.

    Needs features of equal width, that is, teacher and student of one definition. Source: EnOF-SNN (Guo et al., NeurIPS
    2024); weight 0.1 and τ = 20 are those of the authors' earlier public code, the published tables' values are not public.

    Attributes:
        temperature: τ.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["laf"] = "laf"
    weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=20.0, gt=0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        widths = student.features.shape[-1], teacher.output.features.shape[-1]
        if widths[0] != widths[1]:
            raise UserError(f"loss term laf: features of {widths[0]} values found, the teacher's {widths[1]} expected")
        seen = teacher.classify(student.features.mean(0))
        wanted = teacher.classify(teacher.output.features.mean(0))
        return soft_divergence(seen, wanted, self.temperature)
