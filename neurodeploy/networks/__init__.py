"""One definition builds both the teacher (ReLU) and the student (spiking), with the same named feature taps."""

from neurodeploy.networks.activation import Activations, Relu, Spiking
from neurodeploy.networks.convnet import ConvNet
from neurodeploy.networks.output import NetworkOutput
from neurodeploy.networks.resnet import ResNet
from neurodeploy.networks.spec import ConvNetSpec, NetworkSpec, ResNetSpec

__all__ = ["Activations", "ConvNet", "ConvNetSpec", "NetworkOutput", "NetworkSpec", "Relu", "ResNet", "ResNetSpec", "Spiking"]
