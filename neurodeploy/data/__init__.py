"""Data sets, one file each. A recipe chooses one under `[data]` by its kind; adding one is adding a file and its name below."""

from typing import Annotated

from pydantic import Field

from neurodeploy.data.cifar10 import Cifar10, Cifar100
from neurodeploy.data.dataset import DataSet
from neurodeploy.data.digits import Digits
from neurodeploy.data.fsdd import Fsdd
from neurodeploy.data.mnist import Mnist
from neurodeploy.data.nmnist import Nmnist
from neurodeploy.data.speech_commands import SpeechCommands
from neurodeploy.data.tiny_imagenet import TinyImagenet

AnyDataSet = Annotated[
    Digits | Mnist | Cifar10 | Cifar100 | TinyImagenet | Fsdd | SpeechCommands | Nmnist, Field(discriminator="kind")
]

__all__ = [
    "AnyDataSet",
    "Cifar10",
    "Cifar100",
    "DataSet",
    "Digits",
    "Fsdd",
    "Mnist",
    "Nmnist",
    "SpeechCommands",
    "TinyImagenet",
]
