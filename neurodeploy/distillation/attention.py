"""Activation attention: the student looks where the teacher looks."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from neurodeploy.distillation.attention_map import attention_levels, map_distance
from neurodeploy.distillation.taps import TapNames
from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.networks import NetworkOutput


class Attention(LossTerm):
    """`Σ_l ‖F(A_T,l) − F(A_S,l)‖₂`, the mean over the batch, with `A_S` the student's firing rate and `A_T` the activation.

    Variant "map": `F(A) = Σ_c A_c²` at every pixel, vectorised and divided by its L2 norm; `map_distance` tells how
    resolutions that differ are met. Variant "scalar": F also sums over the pixels, which leaves one number per sample.

    Source: LaSNN (Hong et al., arXiv 2304.09101). The map, its normalisation, three levels and the weight α/2 with α = 0.9
    are printed there; that the scalar is meant is the reading of its eq. 6. Our working form: which taps the levels are, the
    interpolation, the mean over the batch, and that the scalars of a batch are divided by their common L2 norm (each divided
    by its own would always be 1; so a batch of one sample adds nothing in this variant).

    Attributes:
        weight: α/2.
        variant: "map" or "scalar".
        taps: the levels l; the lowest, middle and highest shared spatial tap if not given.
    """

    needs_teacher: ClassVar[bool] = True
    kind: Literal["attention"] = "attention"
    weight: float = Field(default=0.45, ge=0, allow_inf_nan=False)
    variant: Literal["map", "scalar"] = "map"
    taps: TapNames | None = None

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert teacher is not None
        seen, wanted = student.taps, teacher.output.taps
        distance = map_distance if self.variant == "map" else _scalar_distance
        names = attention_levels(self.kind, seen, wanted, self.taps)
        return torch.stack([distance(_attention(seen[name]), _attention(wanted[name])) for name in names]).sum()


def _attention(tap: Tensor) -> Tensor:
    """`Σ_c A_c²` of the mean over time: `[T, B, C, H, W]` → `[B, H, W]`."""
    return tap.mean(0).square().sum(1)


def _scalar_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance of the maps' sums over pixels, `[B]` each, both scaled to L2 norm 1."""
    seen, wanted = student.sum((1, 2)), teacher.detach().sum((1, 2))
    return torch.linalg.vector_norm(normalize(seen, dim=0) - normalize(wanted, dim=0))
