"""One definition builds both the teacher (ReLU) and the student (spiking), with the same named feature taps."""

from neurodeploy.networks.convnet import ConvNet, ConvNetSpec
from neurodeploy.networks.convstack import ConvStack
from neurodeploy.networks.definition import Activations, Code, NetworkOutput, Relu, Spiking
from neurodeploy.networks.densenet import DenseNet, DenseNetSpec
from neurodeploy.networks.resnet import ResNet, ResNet1d, ResNet1dSpec, ResNetSpec
from neurodeploy.networks.spec import NetworkSpec
from neurodeploy.networks.vgg import ConvLinearSpec, SvggSpec, VggSpec

__all__ = [
    "Activations",
    "Code",
    "ConvLinearSpec",
    "ConvNet",
    "ConvNetSpec",
    "ConvStack",
    "DenseNet",
    "DenseNetSpec",
    "NetworkOutput",
    "NetworkSpec",
    "Relu",
    "ResNet",
    "ResNet1d",
    "ResNet1dSpec",
    "ResNetSpec",
    "Spiking",
    "SvggSpec",
    "VggSpec",
]
