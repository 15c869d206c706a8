"""Louis et al.: regularisation of activity and of logits."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class Activity(LossTerm):
    """`Σ_l mean(s_l)` (norm "l1") or `Σ_l mean(r_l²)` (norm "l2"), over the taps; `r_l` is the firing rate over time.

    Source: our working form of the baseline of Louis et al. (arXiv 2406.18350).

    Attributes:
        norm: "l1" or "l2".
    """

    needs_taps: ClassVar[bool] = True
    kind: Literal["activity"] = "activity"
    norm: Literal["l1", "l2"] = "l1"

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        activations = student.taps.values()
        if self.norm == "l1":
            return torch.stack([s.abs().mean() for s in activations]).sum()
        return torch.stack([s.mean(0).square().mean() for s in activations]).sum()


class Logits(LossTerm):
    """`mean(z_S²)` (norm "l2") or `mean(|z_S|)` (norm "l1"), with `z_S` the mean over time of the output.

    Source: Louis et al. (arXiv 2406.18350), whose weights are of the order 1e-3 … 1e-2.

    Attributes:
        norm: "l1" or "l2".
    """

    kind: Literal["logits"] = "logits"
    norm: Literal["l1", "l2"] = "l2"

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        return student.logits.square().mean() if self.norm == "l2" else student.logits.abs().mean()
