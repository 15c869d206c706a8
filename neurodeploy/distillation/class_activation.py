"""Class-activation distillation: spikes gather where the teacher finds its class."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.distillation.taps import spatial_taps
from neurodeploy.distillation.term import LossTerm, TeacherOutput, soft_divergence
from neurodeploy.errors import UserError
from neurodeploy.networks import NetworkOutput


class ClassActivation(LossTerm):
    """`τ² KL(softmax(M_T/τ) ‖ softmax(M_S/τ))` over the pixels of the last spatial tap, the mean over the batch.

    Teacher: the class activation map `M_T = ReLU(Σ_c w_c a_c)`, with w the classifier's weights of the class that the teacher
    predicts. Student: the spike activation map `M_S = Σ_t Σ_c s_c(t)`. Both are scaled to 0 … 1 by the batch's minimum and
    maximum, `(M − min M) / (max(M − min M) + 10⁻³)`.

    Source: SAMD of CKDSNN (Liu et al., AAAI 2026, arXiv 2511.06902). Maps and scaling as in the authors' public code, the
    divergence and τ = 2 as quoted from the paper (which names Grad-CAM for the teacher's map: the same map, up to scale, if
    global average pooling and a linear classifier follow).

    Attributes:
        temperature: τ.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["class-activation"] = "class-activation"
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        name = spatial_taps(self.kind, student.taps, teacher.output.taps)[-1]
        seen, wanted = student.taps[name].sum((0, 2)), self._class_activation(name, teacher)
        if seen.shape != wanted.shape:
            raise UserError(
                f"{self.kind}: the maps of tap {name} have the size {tuple(seen.shape[1:])} in the student and "
                f"{tuple(wanted.shape[1:])} in the teacher, equal ones expected; use the term attention, which interpolates"
            )
        return soft_divergence(_scaled(seen).flatten(1), _scaled(wanted).flatten(1), self.temperature)

    def _class_activation(self, name: str, teacher: TeacherOutput) -> Tensor:
        """`ReLU(Σ_c w_c a_c)` of the predicted class: `[B, H, W]`.

        The classifier is affine, so that its answer to one pixel less its answer to zero is that sum.
        """
        pixels = teacher.output.taps[name].detach().mean(0).movedim(1, -1)
        width = teacher.output.features.shape[-1]
        if pixels.shape[-1] != width:
            raise UserError(
                f"{self.kind}: the teacher's classifier reads {width} features, its last spatial tap {name} has "
                f"{pixels.shape[-1]} channels; a network with global average pooling before its classifier expected"
            )
        with torch.no_grad():
            scores = teacher.classify(pixels) - teacher.classify(torch.zeros_like(pixels[:1, :1, :1]))
        predicted = teacher.output.logits.argmax(-1)
        return scores[torch.arange(len(predicted), device=predicted.device), :, :, predicted].relu()


def _scaled(maps: Tensor) -> Tensor:
    above = maps - maps.min()
    return above / (above.max() + 1e-3)
