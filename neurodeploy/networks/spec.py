"""Networks as a recipe describes them: each kind's settings are beside its network, and are imported here."""

from typing import Annotated

from neurodeploy.io.kinds import ByKind
from neurodeploy.networks.convnet import ConvNetSpec as ConvNetSpec
from neurodeploy.networks.definition import NetworkSettings
from neurodeploy.networks.densenet import DenseNetSpec as DenseNetSpec
from neurodeploy.networks.functions import network_function
from neurodeploy.networks.resnet import ResNet1dSpec as ResNet1dSpec
from neurodeploy.networks.resnet import ResNetSpec as ResNetSpec
from neurodeploy.networks.vgg import ConvLinearSpec as ConvLinearSpec
from neurodeploy.networks.vgg import SvggSpec as SvggSpec
from neurodeploy.networks.vgg import VggSpec as VggSpec

NetworkSpec = Annotated[NetworkSettings, ByKind("network", "neurodeploy.networks", call=network_function)]
