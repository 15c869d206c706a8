"""Loss terms on features: those of a teacher, spikes beside its values, and LAF (EnOF-SNN)."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from neurodeploy.distillation.taps import TapNames, matching_taps
from neurodeploy.distillation.term import TaughtTerm, TeacherOutput, soft_divergence
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput


class Feature(TaughtTerm):
    """`Σ_l MSE(r_l, a_l / max a_l)`, with `r_l` the student's firing rate over time and `a_l` the teacher's activation.

    The maximum is that of the whole batch; a layer that is silent in the teacher asks for silence. With RepAct the last tap
    holds the ReLU's mean over time in place of a rate.

    Source: Louis et al. (arXiv 2406.18350) compare the features of all layers; our working form, since their scaling of the
    teacher's activations to the range of a firing rate is not public.

    Attributes:
        taps: the layers l; all that teacher and student share if not given.
    """

    needs_taps: ClassVar[bool] = True
    kind: Literal["feature"] = "feature"
    taps: TapNames | None = None

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        seen, wanted = student.taps, teacher.output.taps
        names = matching_taps(self.kind, seen, wanted, self.taps)
        return torch.stack([mse_loss(seen[name].mean(0), rate(wanted[name].mean(0))) for name in names]).sum()


def rate(activation: Tensor) -> Tensor:
    """A ReLU's activation as the firing rate, 0 … 1, that stands for it: divided by its maximum; without gradient."""
    fixed = activation.detach()
    return fixed / fixed.max().clamp_min(torch.finfo(fixed.dtype).tiny)


class SpikeTensor(TaughtTerm):
    """`Σ_l MSE(n_S,l, n_T,l)`, with `n(k) = Σ_{t=k}^{k+w−1} s(t)` the spike counts in all windows of w consecutive steps.

    The teacher runs for as many steps as the student, or for one, which then stands for all. The activations of a ReLU
    teacher count as rates, `s(t) = a(t) / max a` over batch and time; spikes of 0 and 1 stay what they are. A window longer
    than the run spans the whole run.

    Source: Kushawaha et al. 2021 (arXiv 2005.00288), as LaSNN and others quote it: the distance between sliding-window sums of
    the spike tensors of two spiking networks. Our working form: the squared distance and its mean, stride 1, the default
    w = 2, and the rates for a ReLU teacher.

    Attributes:
        window: w, in time steps.
        taps: the layers l; all that teacher and student share if not given.
    """

    needs_taps: ClassVar[bool] = True
    kind: Literal["spike-tensor"] = "spike-tensor"
    window: int = Field(default=2, ge=1)
    taps: TapNames | None = None

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        seen, wanted = student.taps, teacher.output.taps
        names = matching_taps(self.kind, seen, wanted, self.taps)
        return torch.stack([self._distance(name, seen[name], rate(wanted[name])) for name in names]).sum()

    def _distance(self, name: str, student: Tensor, teacher: Tensor) -> Tensor:
        steps = student.shape[0]
        if teacher.shape[0] == 1:
            teacher = teacher.expand_as(student)
        if teacher.shape[0] != steps:
            raise UserError(
                f"{self.kind}: tap {name} has {steps} time steps in the student and {teacher.shape[0]} in the teacher; "
                "give both the same steps, or take a teacher of one step"
            )
        window = min(self.window, steps)
        return mse_loss(student.unfold(0, window, 1).sum(-1), teacher.unfold(0, window, 1).sum(-1))


class Laf(TaughtTerm):
    """`τ² KL(softmax(g(f_T)/τ) ‖ softmax(g(mean_t f_S(t))/τ))`, with `g` the frozen classifier of the teacher.

    Needs features of equal width, that is, teacher and student of one definition. Source: EnOF-SNN (Guo et al., NeurIPS
    2024); weight 0.1 and τ = 20 are those of the authors' earlier public code, the published tables' values are not public.

    Attributes:
        temperature: τ.
    """

    needs_features: ClassVar[bool] = True
    kind: Literal["laf"] = "laf"
    weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=20.0, gt=0, allow_inf_nan=False)

    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        widths = student.features.shape[-1], teacher.output.features.shape[-1]
        if widths[0] != widths[1]:
            raise UserError(f"loss term laf: features of {widths[0]} values found, the teacher's {widths[1]} expected")
        seen = teacher.classify(student.features.mean(0))
        wanted = teacher.classify(teacher.output.features.mean(0))
        return soft_divergence(seen, wanted, self.temperature)
