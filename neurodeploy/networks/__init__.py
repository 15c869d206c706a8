"""One definition builds both the teacher (ReLU) and the student (spiking), with the same named feature taps."""

from typing import Any

from neurodeploy.io.moved import renamed
from neurodeploy.networks.convnet import ConvNet as ConvNet
from neurodeploy.networks.convnet import ConvNetSpec as ConvNetSpec
from neurodeploy.networks.convstack import ConvStack as ConvStack
from neurodeploy.networks.definition import Activations as Activations
from neurodeploy.networks.definition import Code as Code
from neurodeploy.networks.definition import LayeredNetwork as LayeredNetwork
from neurodeploy.networks.definition import NetworkOutput as NetworkOutput
from neurodeploy.networks.definition import NetworkSettings as NetworkSettings
from neurodeploy.networks.definition import Relu as Relu
from neurodeploy.networks.definition import SpikingActivations as SpikingActivations
from neurodeploy.networks.definition import classifier_of as classifier_of
from neurodeploy.networks.densenet import DenseNet as DenseNet
from neurodeploy.networks.densenet import DenseNetSpec as DenseNetSpec
from neurodeploy.networks.resnet import ResNet as ResNet
from neurodeploy.networks.resnet import ResNet1d as ResNet1d
from neurodeploy.networks.resnet import ResNet1dSpec as ResNet1dSpec
from neurodeploy.networks.resnet import ResNetSpec as ResNetSpec
from neurodeploy.networks.spec import NetworkSpec as NetworkSpec
from neurodeploy.networks.vgg import ConvLinearSpec as ConvLinearSpec
from neurodeploy.networks.vgg import SvggSpec as SvggSpec
from neurodeploy.networks.vgg import VggSpec as VggSpec


def __getattr__(name: str) -> Any:
    return renamed(__name__, {"Spiking": "neurodeploy.networks.definition.SpikingActivations"}, name)
