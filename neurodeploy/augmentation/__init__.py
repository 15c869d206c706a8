"""Augmentations, one file each, batched in torch on the device of the batch. Adding one is adding a file and its name below."""

from typing import Annotated

from pydantic import Field

from neurodeploy.augmentation.augmentation import Augmentation, LabelAugmentation, augment
from neurodeploy.augmentation.autoaugment import AutoAugment
from neurodeploy.augmentation.events import EventFlip, EventShift
from neurodeploy.augmentation.images import Crop, Cutout, Flip, Mixup

AnyAugmentation = Annotated[
    Crop | Flip | Cutout | AutoAugment | Mixup | EventShift | EventFlip,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyAugmentation",
    "Augmentation",
    "AutoAugment",
    "Crop",
    "Cutout",
    "EventFlip",
    "EventShift",
    "Flip",
    "LabelAugmentation",
    "Mixup",
    "augment",
]
