"""Feature distillation: firing rates follow the teacher's scaled activations."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from neurodeploy.distillation.taps import TapNames, require_equal_shapes, shared_taps
from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class Feature(LossTerm):
    """`Σ_l MSE(r_l, a_l / max a_l)`, with `r_l` the student's firing rate over time and `a_l` the teacher's activation.

    The maximum is that of the whole batch; a layer that is silent in the teacher asks for silence. With RepAct the last tap
    holds the ReLU's mean over time in place of a rate.

    Source: Louis et al. (arXiv 2406.18350) compare the features of all layers; our working form, since their scaling of the
    teacher's activations to the range of a firing rate is not public.

    Attributes:
        taps: the layers l; all that teacher and student share if not given.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["feature"] = "feature"
    taps: TapNames | None = None

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        seen, wanted = student.taps, teacher.output.taps
        names = shared_taps(self.kind, seen, wanted, self.taps)
        require_equal_shapes(self.kind, names, seen, wanted)
        return torch.stack([mse_loss(seen[name].mean(0), rate(wanted[name].mean(0))) for name in names]).sum()


def rate(activation: Tensor) -> Tensor:
    """A ReLU's activation as the firing rate, 0 … 1, that stands for it: divided by its maximum; without gradient."""
    fixed = activation.detach()
    return fixed / fixed.max().clamp_min(torch.finfo(fixed.dtype).tiny)
