"""Spike-tensor distillation: spike counts in short windows follow those of a teacher, spiking or not."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from neurodeploy.distillation.feature import rate
from neurodeploy.distillation.taps import TapNames, require_equal_shapes, shared_taps
from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.errors import UserError
from neurodeploy.networks import NetworkOutput


class SpikeTensor(LossTerm):
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

    needs_teacher: ClassVar[bool] = True
    kind: Literal["spike-tensor"] = "spike-tensor"
    window: int = Field(default=2, ge=1)
    taps: TapNames | None = None

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        seen, wanted = student.taps, teacher.output.taps
        names = shared_taps(self.kind, seen, wanted, self.taps)
        require_equal_shapes(self.kind, names, seen, wanted)
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
