"""Head-tail-aware divergence: likely and unlikely classes both count, by how far off the student is on them."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class HeadTail(LossTerm):
    """`τ² (g_head KL(p_T ‖ p_S) + g_tail KL(p_S ‖ p_T)) / (g_head + g_tail)`, the mean over the batch, p the softmax of z/τ.

    The head of a sample is the smallest set of the teacher's most probable classes that holds at least the share δ of its
    probability, the tail is the rest. `g = Σ |p_T − p_S|` over head or tail, a constant for the gradient. `z_S` is the mean
    over time.

    Source: HTA-KL (Zhang et al., arXiv 2504.20445), whose parts are quoted: a mask by cumulative probability, adaptive
    weights, forward divergence for the head and reverse divergence for the tail. Our working form, after the adaptive
    divergence of Wu et al. (arXiv 2404.02657) that has the same parts: the gaps g as weights, δ = 0.5, both divergences over
    all classes (so that the term is 0 only where student and teacher agree), τ = 4.

    Attributes:
        temperature: τ.
        head: δ, the share of probability that makes the head.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["head-tail"] = "head-tail"
    temperature: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    head: float = Field(default=0.5, gt=0, lt=1)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        log_seen = (student.logits / self.temperature).log_softmax(-1)
        log_wanted = (teacher.output.logits.detach() / self.temperature).log_softmax(-1)
        seen, wanted = log_seen.exp(), log_wanted.exp()
        gap, head = (wanted - seen.detach()).abs(), _head(wanted, self.head)
        head_share = (gap * head).sum(-1) / gap.sum(-1).clamp_min(torch.finfo(gap.dtype).tiny)
        forward = (wanted * (log_wanted - log_seen)).sum(-1)
        reverse = (seen * (log_seen - log_wanted)).sum(-1)
        return self.temperature**2 * (head_share * forward + (1 - head_share) * reverse).mean()


def _head(probabilities: Tensor, share: float) -> Tensor:
    """True for the fewest most probable classes that together reach `share`: `[B, K]`."""
    sorted_, order = probabilities.sort(dim=-1, descending=True, stable=True)
    reached_before = sorted_.cumsum(-1) - sorted_
    return torch.zeros_like(probabilities, dtype=torch.bool).scatter(-1, order, reached_before < share)
