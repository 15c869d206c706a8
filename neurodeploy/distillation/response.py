"""Response distillation: the student learns the teacher's softened answer."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput, soft_divergence
from neurodeploy.networks import NetworkOutput


class Response(LossTerm):
    """`τ² KL(softmax(z_T/τ) ‖ softmax(z_S/τ))`, with `z_S` the mean over time of the output.

    The whole loss of Louis et al. (arXiv 2406.18350) is `(1−α) CE + α` times this term: give the two terms those weights.
    Source: Hinton et al. 2015; our working form of Louis et al., whose exact form is not public.

    Attributes:
        temperature: τ.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["response"] = "response"
    temperature: float = Field(default=4.0, gt=0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        return soft_divergence(student.logits, teacher.output.logits, self.temperature)
