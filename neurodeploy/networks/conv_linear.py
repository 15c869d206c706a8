"""LaSNN's smallest network: three convolutions and two linear layers."""

from typing import Literal

from torch import nn

from neurodeploy.networks.activation import Activations
from neurodeploy.networks.convstack import Convolution, ConvStack, Form
from neurodeploy.networks.settings import NetworkSettings, Rate, Size, Width


class ConvLinearSpec(NetworkSettings):
    """`kind = "conv-linear"`: "3Conv,2Linear" of LaSNN's tables; see `ConvStack` for the structure and the taps.

    Each convolution is followed by an average pool of 2×2; the second linear layer is the classifier. The paper prints nothing
    but the name: the widths, the pools and the dropout rates (those of its VGG networks) are our working form.

    Attributes:
        channels: widths of the three convolutions.
        hidden: width of the first linear layer.
        size: resolution of the samples, at least 8.
        form: "plain" (no batch norm, no bias) or "batch-norm".
        hidden_dropout: rate behind the first linear layer.
    """

    kind: Literal["conv-linear"] = "conv-linear"
    channels: tuple[Width, Width, Width] = (64, 128, 256)
    hidden: Width = 1024
    size: Size = 32
    form: Form = "plain"
    hidden_dropout: Rate = 0.5

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        return ConvStack(
            in_channels,
            classes,
            convolutions=[Convolution(width, pooled=True) for width in self.channels],
            hidden=(self.hidden,),
            size=self.size,
            activations=activations,
            form=self.form,
            hidden_dropout=self.hidden_dropout,
        )
