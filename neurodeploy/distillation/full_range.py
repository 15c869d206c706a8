"""Time-wise distillation: every time step learns from labels, teacher and the ensemble of all steps."""

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.cross_entropy import label_loss
from neurodeploy.distillation.term import LossTerm, TeacherOutput, soft_divergence
from neurodeploy.networks import NetworkOutput


class FullRange(LossTerm):
    """`mean_t CE(z_S(t), y) + a τ² mean_t KL(p_T ‖ p_S(t)) + b τ² mean_t KL(p_ens ‖ p_S(t))`, with p the softmax of z/τ.

    `p_ens` comes from the student's own logits averaged over time, without gradient. The whole loss of the method: it takes
    the place of the cross-entropy term. A network trained so answers well after any number of steps up to T.

    Source: Yu et al. (ICML 2025, arXiv 2501.15925); formula, τ = 3, a = 0.2 and b = 0.5 as in the authors' public code, with
    one difference: there the ensemble averages only the steps that are right about the sample, here all, as quoted from the
    paper.

    Attributes:
        temperature: τ.
        teacher_weight: a.
        ensemble_weight: b.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["full-range"] = "full-range"
    temperature: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    teacher_weight: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    ensemble_weight: float = Field(default=0.5, ge=0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        steps = student.step_logits
        repeated = labels.expand(steps.shape[0], *labels.shape).flatten(0, 1)
        hard = label_loss(steps.flatten(0, 1), repeated)
        taught = soft_divergence(steps, teacher.output.logits, self.temperature)
        ensemble = soft_divergence(steps, student.logits, self.temperature)
        return hard + self.teacher_weight * taught + self.ensemble_weight * ensemble
