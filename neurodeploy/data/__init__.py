"""Data sets, one file each. A recipe chooses one under `[data]` by its kind; adding one is adding a file and its import."""

from typing import Annotated

from neurodeploy.data.cifar10 import Cifar10 as Cifar10
from neurodeploy.data.cifar10 import Cifar100 as Cifar100
from neurodeploy.data.cifar10_dvs import Cifar10Dvs as Cifar10Dvs
from neurodeploy.data.dataset import DataSet as DataSet
from neurodeploy.data.dataset import DataSetSettings as DataSetSettings
from neurodeploy.data.digits import Digits as Digits
from neurodeploy.data.folder import ImageFolder as ImageFolder
from neurodeploy.data.functions import data_function
from neurodeploy.data.idx import IdxFiles as IdxFiles
from neurodeploy.data.mnist import Mnist as Mnist
from neurodeploy.data.nmnist import Nmnist as Nmnist
from neurodeploy.data.normalization import Normalization as Normalization
from neurodeploy.data.npz import ArrayFiles as ArrayFiles
from neurodeploy.data.samples import Samples as Samples
from neurodeploy.data.speech import Fsdd as Fsdd
from neurodeploy.data.speech import SpeechCommands as SpeechCommands
from neurodeploy.data.tiny_imagenet import TinyImagenet as TinyImagenet
from neurodeploy.data.torch_data import TorchDataSet as TorchDataSet
from neurodeploy.data.torch_data import as_data_set as as_data_set
from neurodeploy.io.kinds import ByKind

AnyDataSet = Annotated[DataSetSettings, ByKind("data set", "neurodeploy.data", call=data_function)]
