"""What a loss term is: a small validated class that turns outputs and labels into a scalar."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from neurodeploy.networks import NetworkOutput


@dataclass(frozen=True)
class TeacherOutput:
    """What the frozen teacher, in evaluation mode and without gradient, answered for the same batch.

    Attributes:
        output: its logits, features and taps (one time step).
        classify: its frozen classifier: features `[B, F]` → logits `[B, K]`; gradients flow through it to the features.
    """

    output: NetworkOutput
    classify: Callable[[Tensor], Tensor]


class LossTerm(BaseModel):
    """One summand of the training loss, as a recipe lists it under `[[student.loss]]`.

    Attributes:
        weight: factor of this term.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    needs_teacher: ClassVar[bool] = False
    weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    @abstractmethod
    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:
        """Value of the term without its weight: a scalar.

        Args:
            student: the network in training.
            teacher: given whenever `needs_teacher` is True.
            labels: int64 `[B]`.
        """


def soft_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`τ² KL(softmax(z_T/τ) ‖ softmax(z_S/τ))`, the mean over the batch (Hinton et al. 2015).

    Args:
        student, teacher: logits `[B, K]`.
        temperature: τ.
    """
    log_student = (student / temperature).log_softmax(-1)
    log_teacher = (teacher / temperature).log_softmax(-1)
    return temperature**2 * (log_teacher.exp() * (log_teacher - log_student)).sum(-1).mean()
