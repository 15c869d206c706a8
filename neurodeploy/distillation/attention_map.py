"""Attention maps: where in the picture a layer is active, whatever its channels and its resolution."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from neurodeploy.distillation.taps import Taps, spatial_taps


def attention_levels(kind: str, student: Taps, teacher: Taps, named: tuple[str, ...] | None) -> tuple[str, ...]:
    """`named`, or else the lowest, the middle and the highest of the spatial taps that both networks have.

    Raises:
        UserError: as `spatial_taps`.
    """
    names = spatial_taps(kind, student, teacher, named)
    if named is not None:
        return names
    return tuple(names[i] for i in sorted({0, (len(names) - 1) // 2, len(names) - 1}))


def map_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """`‖S/‖S‖₂ − Q/‖Q‖₂‖₂` of the vectorised maps, the mean over the batch; Q is the teacher's map.

    Where the resolutions differ, the teacher's map is interpolated to the student's (bilinear, pixel centres aligned).

    Args:
        student: `[B, H, W]`, not negative.
        teacher: `[B, H', W']`, not negative; no gradient flows to it.
    """
    wanted = teacher.detach()
    if wanted.shape != student.shape:
        wanted = interpolate(wanted.unsqueeze(1), student.shape[-2:], mode="bilinear", align_corners=False).squeeze(1)
    return torch.linalg.vector_norm(normalize(student.flatten(1)) - unit_vectors(wanted.flatten(1)), dim=1).mean()


def unit_vectors(rows: Tensor) -> Tensor:
    """`[B, N]`, not negative → each row divided by its L2 norm; a row of zeros stays so.

    Gradients of a confident teacher lie far below the floor of `normalize`, so that each row is scaled to maximum 1 first.
    """
    return normalize(rows / rows.amax(1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny))
