"""Cross-entropy with the labels."""

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class CrossEntropy(LossTerm):
    """`CE(mean_t z(t), (1 − ε) y + ε/K)`, on the logits averaged over time, y one-hot or given as probabilities.

    Source of ε: Szegedy et al. (CVPR 2016, arXiv 1512.00567), section 7.

    Attributes:
        label_smoothing: ε, the share of every label that is spread evenly over all K classes.
    """

    kind: Literal["cross-entropy"] = "cross-entropy"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        return label_loss(student.logits, labels, self.label_smoothing)


def label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits `[N, K]` with labels, int64 `[N]` or probabilities `[N, K]`, the mean over N."""
    targets = labels.to(logits.dtype) if labels.is_floating_point() else labels
    return cross_entropy(logits, targets, label_smoothing=smoothing)
