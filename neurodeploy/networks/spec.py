"""Networks as a recipe describes them: each kind's settings stand beside its network; here they are one type."""

from typing import Annotated

from pydantic import Field

from neurodeploy.networks.conv_linear import ConvLinearSpec
from neurodeploy.networks.convnet import ConvNetSpec
from neurodeploy.networks.densenet import DenseNetSpec
from neurodeploy.networks.resnet import ResNetSpec
from neurodeploy.networks.resnet1d import ResNet1dSpec
from neurodeploy.networks.svgg import SvggSpec
from neurodeploy.networks.vgg import VggSpec

NetworkSpec = Annotated[
    ConvNetSpec | ConvLinearSpec | DenseNetSpec | ResNetSpec | ResNet1dSpec | SvggSpec | VggSpec, Field(discriminator="kind")
]
