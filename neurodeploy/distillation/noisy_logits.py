"""Noise-smoothed logits: a spiking network's coarse answer is blurred before it is compared."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput, soft_divergence
from neurodeploy.networks import NetworkOutput


class NoisyLogits(LossTerm):
    """`τ² KL(softmax(z_T/τ) ‖ softmax((z_S + λ ε)/τ))` with `ε ~ N(mean z_S, std(z_S)²)`, both over the classes of a sample.

    `z_S` is the mean over time of the output. ε is drawn anew at every call, from torch's default generator, and is a constant
    for the gradient.

    Source: NLD of CKDSNN (Liu et al., AAAI 2026, arXiv 2511.06902); formula, τ = 2 and λ = 0.1 as quoted from the paper. (The
    authors' public code mixes the probabilities of logits and noise, 0.9 to 0.1, instead.) Our working form: no gradient
    through ε.

    Attributes:
        temperature: τ.
        noise: λ.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["noisy-logits"] = "noisy-logits"
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    noise: float = Field(default=0.1, ge=0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        deviation, mean = torch.std_mean(student.logits.detach(), -1, keepdim=True)
        noise = mean + deviation * torch.randn_like(student.logits)
        return soft_divergence(student.logits + self.noise * noise, teacher.output.logits, self.temperature)
