"""Augmentations, one file each, batched in torch on the device of the batch. Adding one is adding a file and its name below."""

from typing import Annotated

from pydantic import Field

from neurodeploy.augmentation.augmentation import Augmentation, LabelAugmentation
from neurodeploy.augmentation.autoaugment import AutoAugment
from neurodeploy.augmentation.crop import Crop
from neurodeploy.augmentation.cutout import Cutout
from neurodeploy.augmentation.events import EventFlip, EventShift
from neurodeploy.augmentation.flip import Flip
from neurodeploy.augmentation.mixup import Mixup
from neurodeploy.augmentation.pipeline import augment

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
