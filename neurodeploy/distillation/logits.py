"""Logits regularisation: large output potentials cost."""

from typing import Literal

from torch import Tensor

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


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
