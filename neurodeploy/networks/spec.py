"""Networks as a recipe describes them: each kind's settings stand beside its network, and are imported here."""

from typing import Annotated

from neurodeploy.kinds import ByKind
from neurodeploy.networks.conv_linear import ConvLinearSpec as ConvLinearSpec
from neurodeploy.networks.convnet import ConvNetSpec as ConvNetSpec
from neurodeploy.networks.densenet import DenseNetSpec as DenseNetSpec
from neurodeploy.networks.resnet import ResNetSpec as ResNetSpec
from neurodeploy.networks.resnet1d import ResNet1dSpec as ResNet1dSpec
from neurodeploy.networks.settings import NetworkSettings
from neurodeploy.networks.svgg import SvggSpec as SvggSpec
from neurodeploy.networks.vgg import VggSpec as VggSpec

NetworkSpec = Annotated[NetworkSettings, ByKind()]
