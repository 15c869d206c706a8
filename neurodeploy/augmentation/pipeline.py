"""Augmentations one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from neurodeploy.augmentation.augmentation import Augmentation, LabelAugmentation


def augment(
    x: Tensor,
    y: Tensor,
    augmentations: Sequence[Augmentation | LabelAugmentation],
    *,
    classes: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Apply augmentations to a training batch, in the order given.

    The draws depend on nothing but the generator's state, so the same seed gives the same batch on the same kind of device.

    Args:
        x: samples `[B, C, H, W]` or event frames `[B, T, C, H, W]`, multiples of 1/256.
        y: labels, int64 `[B]`, or probabilities, float `[B, K]`.
        augmentations: as a recipe lists them.
        classes: K.
        generator: source of every random draw; torch's default one of the device of `x` if None.

    Returns:
        Samples, of the shape, dtype and device of `x`; and `y`, as probabilities float32 `[B, K]` if a label augmentation is
        among them.

    Raises:
        UserError: an augmentation does not suit these samples.
    """
    for augmentation in augmentations:
        if isinstance(augmentation, LabelAugmentation):
            targets = y if y.is_floating_point() else one_hot(y, classes).to(torch.float32)
            x, y = augmentation(x, targets, generator)
        else:
            x = augmentation(x, generator)
    return x, y
