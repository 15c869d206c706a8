"""One definition builds both the teacher (ReLU) and the student (spiking), with the same named feature taps."""

from neurodeploy.networks.activation import Activations, Code, Relu, Spiking
from neurodeploy.networks.conv_linear import ConvLinearSpec
from neurodeploy.networks.convnet import ConvNet, ConvNetSpec
from neurodeploy.networks.convstack import ConvStack
from neurodeploy.networks.densenet import DenseNet, DenseNetSpec
from neurodeploy.networks.output import NetworkOutput
from neurodeploy.networks.resnet import ResNet, ResNetSpec
from neurodeploy.networks.resnet1d import ResNet1d, ResNet1dSpec
from neurodeploy.networks.spec import NetworkSpec
from neurodeploy.networks.svgg import SvggSpec
from neurodeploy.networks.vgg import VggSpec

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
