"""Cross-entropy with the labels."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import cross_entropy

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class CrossEntropy(LossTerm):
    """`CE(mean_t z(t), y)`, on the logits averaged over time."""

    kind: Literal["cross-entropy"] = "cross-entropy"

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        return cross_entropy(student.logits, labels)
