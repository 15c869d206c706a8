"""What a loss term is, and the one that every training has: cross-entropy."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput


@dataclass(frozen=True)
class TeacherOutput:
    """What the frozen teacher, in evaluation mode and without gradient, answered for the same batch.

    Attributes:
        output: its logits, features and taps (of one time step, if it is a ReLU network and the sample is static).
        classify: its frozen classifier: features `[B, F]` → logits `[B, K]`; gradients flow through it to the features.
        tap_gradients: tap name → `∂L/∂x` of the tap's shape, with L the teacher's own cross-entropy with the labels, summed
            over the batch; given if a term has `needs_teacher_gradients`.
    """

    output: NetworkOutput
    classify: Callable[[Tensor], Tensor]
    tap_gradients: dict[str, Tensor] | None = None


class LossTerm(BaseModel):
    """One summand of the training loss, as a recipe lists it under `[[student.loss]]`.

    A class with `needs_teacher` is called with the teacher's answer; one with `needs_teacher_gradients` also finds there the
    gradients of the teacher's loss with respect to its taps, which cost a backward pass of the teacher at every step. One with
    `needs_taps` or `needs_features` reads those of the networks, which not every module has: that is checked before a training.
    One with `reads_labels` learns from the labels; to those without, `neurodeploy.distill` adds cross-entropy.

    Attributes:
        weight: factor of this term.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    needs_teacher: ClassVar[bool] = False
    needs_teacher_gradients: ClassVar[bool] = False
    needs_taps: ClassVar[bool] = False
    needs_features: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = False
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    def fitted(self, labels: Tensor, classes: int) -> Self:  # noqa: ARG002 - for those that depend on them
        """The term for a training set, with what it takes from its labels.

        Args:
            labels: int64 `[N]`, of all samples that are learned from.
            classes: K.

        Raises:
            UserError: the term does not suit so many classes.
        """
        return self

    def of_network(self, network: nn.Module, shape: tuple[int, ...]) -> Self:  # noqa: ARG002 - for those that depend on it
        """The term for a student, with what it takes from its layers.

        Args:
            network: the student, untrained or trained.
            shape: of a sample as the data hold it.

        Raises:
            UserError: the term does not suit such a network.
        """
        return self

    @abstractmethod
    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:
        """Value of the term without its weight: a scalar.

        Args:
            student: the network in training.
            teacher: given whenever `needs_teacher` is True.
            labels: int64 `[B]`, or probabilities, float `[B, K]`, if an augmentation mixes samples.
        """


class TaughtTerm(LossTerm):
    """A term that compares the student with the teacher, whatever the labels are."""

    needs_teacher: ClassVar[bool] = True

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        return self._compare(student, teacher)

    @abstractmethod
    def _compare(self, student: NetworkOutput, teacher: TeacherOutput) -> Tensor:
        """As `__call__`."""


def soft_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`τ² KL(softmax(z_T/τ) ‖ softmax(z_S/τ))`, the mean over the leading axes (Hinton et al. 2015).

    No gradient flows to the teacher's side.

    Args:
        student, teacher: logits `[…, K]`, broadcast against each other.
        temperature: τ.
    """
    log_student = (student / temperature).log_softmax(-1)
    log_teacher = (teacher.detach() / temperature).log_softmax(-1)
    return temperature**2 * (log_teacher.exp() * (log_teacher - log_student)).sum(-1).mean()


ClassWeights = Literal["balanced"] | tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]
"""A factor for each class, or those that follow from how often each occurs."""


class CrossEntropy(LossTerm):
    """`−Σ_k w_k q_k log softmax(mean_t z(t))_k` with `q = (1 − ε) y + ε/K`, y one-hot or given as probabilities.

    With `over_time = "sum"` the softmax is of `Σ_t z(t)`, the potential of an output neuron that only integrates. The answer is
    the same class; its probability is T times as steep, so that a converted student, whose logits are small as means, learns
    from wrong samples first.

    The mean over the samples, also where they have weights: a batch is not divided by the sum of those in it, as torch does it,
    so that parts of a batch, on several processes, add up to the whole.

    Sources: of ε Szegedy et al. (CVPR 2016, arXiv 1512.00567), section 7; of the sum LaSNN (Hong et al., arXiv 2304.09101).

    Attributes:
        over_time: whether the logits are the mean or the sum of the steps' logits.
        label_smoothing: ε, the share of every label that is spread evenly over all K classes.
        class_weights: w, one for each class; or "balanced": `N / (K n_k)`, with n_k of the N training samples in class k, so
            that every class counts alike and the mean over the training set is 1 (before `fitted`, over the batch). None: 1 for
            all.
    """

    reads_labels: ClassVar[bool] = True
    kind: Literal["cross-entropy"] = "cross-entropy"
    over_time: Literal["mean", "sum"] = "mean"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: ClassWeights | None = None

    def fitted(self, labels: Tensor, classes: int) -> Self:
        weights = self.class_weights
        if weights is None:
            return self
        if weights == "balanced":
            counts = labels.bincount(minlength=classes)
            if not bool(counts.all()):
                absent = int((counts == 0).nonzero()[0])
                raise UserError(f"class_weights: class {absent} has no training samples to be balanced by; give weights")
            return self.model_copy(update={"class_weights": tuple((len(labels) / (classes * counts.double())).tolist())})
        if len(weights) != classes:
            raise UserError(f"class_weights: {len(weights)} found for {classes} classes, one for each expected")
        return self

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        logits = student.logits if self.over_time == "mean" else student.step_logits.sum(0)
        if self.class_weights is None:
            return label_loss(logits, labels, self.label_smoothing)
        if self.class_weights == "balanced":
            classes = logits.shape[-1]
            counts = (labels.sum(0) if labels.is_floating_point() else labels.bincount(minlength=classes)).to(logits.dtype)
            weights = torch.where(counts > 0, len(labels) / (classes * counts), 0)
            return label_loss(logits, labels, self.label_smoothing, weights)
        return label_loss(logits, labels, self.label_smoothing, logits.new_tensor(self.class_weights))


def label_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits `[N, K]` with labels, int64 `[N]` or probabilities `[N, K]`, the mean over N.

    `weights` `[K]` are factors of the classes.
    """
    targets = labels.to(logits.dtype) if labels.is_floating_point() else labels
    if weights is None:
        return cross_entropy(logits, targets, label_smoothing=smoothing)
    return cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum") / len(logits)
