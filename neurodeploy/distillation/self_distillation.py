"""Self-distillation: the most and the least confident time step of one run teach each other."""

from typing import Literal

from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput, soft_divergence
from neurodeploy.errors import UserError
from neurodeploy.networks import NetworkOutput


class SelfDistillation(LossTerm):
    """`KL(softmax(z(t_a)/τ) ‖ softmax(z(t_b)/τ))`, the mean over the batch; step `t_a` teaches step `t_b`, without a teacher.

    Of the T steps the strong one has the highest confidence `mean_batch max_k softmax(z(t))_k`, the weak one the lowest.
    Direction "strong-to-weak": t_a is the strong step; "weak-to-strong": the weak one. No gradient flows to the teaching step.

    Source: Ding et al. (NeurIPS 2025, arXiv 2510.07924): confidence, its mean over the batch, both directions, τ = 2 and weight
    1 are printed, and no factor τ² in its algorithm 1. Our working form: the teaching step is a constant.

    Attributes:
        temperature: τ.
        direction: "strong-to-weak" or "weak-to-strong".
    """

    kind: Literal["self-distillation"] = "self-distillation"
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    direction: Literal["strong-to-weak", "weak-to-strong"] = "strong-to-weak"

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        steps = student.step_logits
        if steps.shape[0] < 2:
            raise UserError(f"{self.kind}: one time step found, at least 2 expected (a step teaches another); raise steps")
        confidence = steps.detach().softmax(-1).amax(-1).mean(-1)
        strong, weak = steps[confidence.argmax()], steps[confidence.argmin()]
        teaching, taught = (strong, weak) if self.direction == "strong-to-weak" else (weak, strong)
        return soft_divergence(taught, teaching, self.temperature) / self.temperature**2
