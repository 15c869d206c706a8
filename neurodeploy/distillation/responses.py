"""Loss terms on what networks answer: a teacher's logits, softened, with noise, over the full range, or the student's own."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from neurodeploy.distillation.term import LossTerm, TaughtTerm, TeacherOutput, label_loss, soft_divergence
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput


class Response(TaughtTerm):
    """`τ² KL(softmax(z_T/τ) ‖ softmax(z_S/τ))`, with `z_S` the mean over time of the output.

    The whole loss of Louis et al. (arXiv 2406.18350) is `(1−α) CE + α` times this term: give the two terms those weights.
    Source: Hinton et al. 2015; our working form of Louis et al., whose exact form is not public.

    Attributes:
        temperature: τ.
    """

    kind: Literal["response"] = "response"
    temperature: float = Field(default=4.0, gt=0, allow_inf_nan=False)

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        return soft_divergence(student.logits, teacher.output.logits, self.temperature)


class NoisyLogits(TaughtTerm):
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

    kind: Literal["noisy-logits"] = "noisy-logits"
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    noise: float = Field(default=0.1, ge=0, allow_inf_nan=False)

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        deviation, mean = torch.std_mean(student.logits.detach(), -1, keepdim=True)
        noise = mean + deviation * torch.randn_like(student.logits)
        return soft_divergence(student.logits + self.noise * noise, teacher.output.logits, self.temperature)


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
    reads_labels: ClassVar[bool] = True
    kind: Literal["full-range"] = "full-range"
    temperature: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    teacher_weight: float = Field(default=0.2, ge=0, allow_inf_nan=False)
    ensemble_weight: float = Field(default=0.5, ge=0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:
        assert teacher is not None
        steps = student.step_logits
        taught = soft_divergence(steps, teacher.output.logits, self.temperature)
        ensemble = soft_divergence(steps, student.logits, self.temperature)
        return _step_loss(steps, labels) + self.teacher_weight * taught + self.ensemble_weight * ensemble


class Tet(LossTerm):
    """`(1 − λ) mean_t CE(z(t), y) + λ mean_t MSE(z(t), φ)`: temporal efficient training, without a teacher.

    The squared distance from φ is the mean over steps, samples and classes; it holds back single large answers. The whole loss
    of the method: it takes the place of the cross-entropy term, which judges only the mean over time.

    Source: Deng et al. (ICLR 2022, arXiv 2202.11946), whose φ is the threshold of the neurons; formula, λ = 0.001 and φ = 1 as
    in public copies of the authors' code.

    Attributes:
        regularisation: λ, the share of the distance from φ.
        target: φ, in the unit of the logits.
    """

    reads_labels: ClassVar[bool] = True
    kind: Literal["tet"] = "tet"
    regularisation: float = Field(default=1e-3, ge=0, lt=1)
    target: float = Field(default=1.0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        steps = student.step_logits
        hard = _step_loss(steps, labels)
        if self.regularisation == 0:
            return hard
        distance = mse_loss(steps, torch.full_like(steps, self.target))
        return (1 - self.regularisation) * hard + self.regularisation * distance


def _step_loss(steps: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every step's logits `[T, B, K]` with the labels `[B]` or `[B, K]`, the mean over T and B."""
    repeated = labels.expand(steps.shape[0], *labels.shape).flatten(0, 1)
    return label_loss(steps.flatten(0, 1), repeated)


class HeadTail(TaughtTerm):
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

    kind: Literal["head-tail"] = "head-tail"
    temperature: float = Field(default=4.0, gt=0, allow_inf_nan=False)
    head: float = Field(default=0.5, gt=0, lt=1)

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
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
