"""Augmentations, one file each, batched in torch on the device of the batch. Adding one is adding a file and its name below."""

from typing import Annotated

from neurodeploy.augmentation.augmentation import Augmentation as Augmentation
from neurodeploy.augmentation.augmentation import LabelAugmentation as LabelAugmentation
from neurodeploy.augmentation.augmentation import augment as augment
from neurodeploy.augmentation.autoaugment import AutoAugment as AutoAugment
from neurodeploy.augmentation.events import EventFlip as EventFlip
from neurodeploy.augmentation.events import EventShift as EventShift
from neurodeploy.augmentation.images import Crop as Crop
from neurodeploy.augmentation.images import Cutout as Cutout
from neurodeploy.augmentation.images import Flip as Flip
from neurodeploy.augmentation.images import Mixup as Mixup
from neurodeploy.io.kinds import ByKind

AnyAugmentation = Annotated[Augmentation | LabelAugmentation, ByKind("augmentation", "neurodeploy.augmentations")]
