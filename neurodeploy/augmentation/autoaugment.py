"""AutoAugment (Cubuk et al. 2019) with its CIFAR-10 policy."""

from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from neurodeploy.augmentation import image_operations as operations
from neurodeploy.augmentation.augmentation import Augmentation, from_bytes, integers, levels_of_one, to_bytes, uniform
from neurodeploy.io.errors import UserError

PolicyStep = tuple[str, float, int]
"""An operation, the probability that it is done, and its magnitude, 0 … 9."""

CIFAR10_POLICY: tuple[tuple[PolicyStep, PolicyStep], ...] = (
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate-x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear-y", 0.5, 8), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear-y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate-x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate-y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate-y", 0.9, 9), ("translate-y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate-y", 0.7, 9), ("autocontrast", 0.9, 1)),
)


_LARGEST = 9  # magnitude
_PIXELS = 150 / 331  # the largest translation as a share of the side: 150 pixels of the paper's 331×331 images

_OPERATIONS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "shear-y": lambda x, m, fill: operations.shear_y(x, 0.3 / _LARGEST * m, fill),
    "translate-x": lambda x, m, fill: operations.translate_x(x, (_PIXELS * x.shape[-1] / _LARGEST * m).trunc(), fill),
    "translate-y": lambda x, m, fill: operations.translate_y(x, (_PIXELS * x.shape[-2] / _LARGEST * m).trunc(), fill),
    "rotate": lambda x, m, fill: operations.rotate(x, 30 / _LARGEST * m, fill),
    "color": lambda x, m, _: operations.color(x, 1 + 0.9 / _LARGEST * m),
    "contrast": lambda x, m, _: operations.contrast(x, 1 + 0.9 / _LARGEST * m),
    "sharpness": lambda x, m, _: operations.sharpness(x, 1 + 0.9 / _LARGEST * m),
    "brightness": lambda x, m, _: operations.brightness(x, 1 + 0.9 / _LARGEST * m),
    "posterize": lambda x, m, _: operations.posterize(x, 8 - (4 / _LARGEST * m.abs()).round()),
    "solarize": lambda x, m, _: operations.solarize(x, 256 - 256 / _LARGEST * m.abs()),
    "autocontrast": lambda x, _m, _f: operations.autocontrast(x),
    "equalize": lambda x, _m, _f: operations.equalize(x),
    "invert": lambda x, _m, _f: operations.invert(x),
}
"""Levels `[N, C, H, W]`, magnitudes −9 … 9 as float64 `[N]` and the fill level → levels."""
_NAMES = tuple(_OPERATIONS)


class AutoAugment(Augmentation):
    """One of 25 sub-policies per image: two operations, one after the other, each done with its probability.

    A magnitude m of 0 … 9 means: shear by 0.3 m/9, rotation by 30° m/9, translation by 150/331 of the side times m/9 (whole
    pixels), color, contrast, sharpness and brightness with factor 1 + 0.9 m/9, all with a sign drawn at random; posterize to
    8 − 4 m/9 bits, solarize from level 256 (1 − m/9). The nearest pixel is taken, so that no colour is mixed.

    For images of one or three channels, whose pixels are bytes on the scale 1/256 or 1/255, and stay on it; on the former a
    pixel of 1 counts as 255/256 in an image that an operation changes. Other values, such as those of resized images, are
    rounded to multiples of 1/255 where an operation changes an image.

    Source: Cubuk et al. (CVPR 2019, arXiv 1805.09501) for the policy (see `cifar10_policy`). The magnitudes are those of the
    public reproductions that spiking networks are commonly trained with: DeepVoltaire's with its grey fill, torchvision's where
    the two differ in rotation (both directions) and translation (whole pixels). The authors' code, read too, has the nearest
    pixel, but m/10 for m/9, factors 0.1 + 0.18 m without a sign, at most 10 pixels, and 4 − 0.4 m bits.

    Attributes:
        fill: pixel value of what comes from outside the image.
    """

    kind: Literal["autoaugment"] = "autoaugment"
    fill: float = Field(default=0.5, ge=0, le=1)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if x.ndim != 4:
            raise UserError(
                f"{self.kind}: event frames found, static images expected; use the augmentations event-shift and event-flip"
            )
        if x.shape[1] not in (1, 3):
            raise UserError(
                f"{self.kind}: {x.shape[1]} channels found, 1 (grey) or 3 (colour) expected; leave this augmentation out"
            )
        low, high = (float(end) for end in torch.aminmax(x))
        if low < 0 or high > 1:
            raise UserError(
                f"{self.kind}: pixels from {low:g} to {high:g} found, 0 to 1 expected, as of images on the scale 1/256 or "
                "1/255; leave this augmentation out"
            )
        scale = levels_of_one(x)
        fill = float(to_bytes(torch.tensor(self.fill), scale))
        policy = integers(0, len(CIFAR10_POLICY) - 1, (len(x),), x, generator)
        chance = uniform((2, len(x)), x, generator)
        sign = integers(0, 1, (2, len(x)), x, generator) * 2 - 1
        names, probabilities, magnitudes = (table[:, policy] for table in _tables(x.device))
        signed = magnitudes * sign
        kind = torch.where(chance < probabilities, names, len(_NAMES))  # beyond the last name: nothing is done
        counts = [torch.bincount(row, minlength=len(_NAMES) + 1) for row in kind]
        sizes = torch.stack(counts)[:, :-1].tolist()
        result = x.clone()
        for step in range(2):
            groups = kind[step].argsort(stable=True)[: sum(sizes[step])].split(sizes[step])
            for name, group in zip(_NAMES, groups, strict=True):
                if len(group):
                    levels = _OPERATIONS[name](to_bytes(result[group], scale), signed[step, group], fill)
                    result[group] = from_bytes(levels, x.dtype, scale)
        return result


@cache
def _tables(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Number of the operation, its probability and its magnitude, each `[2, 25]`: first and second step of the policies."""
    steps = [[pair[step] for pair in CIFAR10_POLICY] for step in range(2)]
    names = torch.tensor([[_NAMES.index(name) for name, *_ in row] for row in steps], device=device)
    numbers = torch.tensor([[numbers for _, *numbers in row] for row in steps], device=device, dtype=torch.float64)
    return names, numbers[..., 0], numbers[..., 1]
