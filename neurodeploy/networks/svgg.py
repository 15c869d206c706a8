"""SVGG: the spiking VGG of Louis et al., with strided convolutions instead of pools."""

from typing import Literal

from pydantic import Field, model_validator
from torch import nn

from neurodeploy.networks.activation import Activations
from neurodeploy.networks.convstack import Convolution, ConvStack
from neurodeploy.networks.settings import NetworkSettings, Rate, Size, Stride, Width, one_per


class SvggSpec(NetworkSettings):
    """`kind = "svgg"`: SVGG-11 of Louis et al. (ICANN 2024) by default; see `ConvStack` for the structure and the taps.

    Every convolution has a batch norm, the linear layers have biases, and no layer pools. Widths, strides, batch norm and the
    dropout rates of 0 are those of the authors' public configuration.

    Attributes:
        channels: widths of the convolutions.
        strides: one per convolution.
        hidden: widths of the linear layers before the classifier.
        size: resolution of the samples.
        dropout, hidden_dropout: rates behind convolutions and hidden layers.
    """

    kind: Literal["svgg"] = "svgg"
    channels: tuple[Width, ...] = Field(default=(64, 128, 256, 256, 512, 512, 512, 512), min_length=1)
    strides: tuple[Stride, ...] = (2, 2, 1, 2, 1, 2, 1, 2)
    hidden: tuple[Width, ...] = (512, 512)
    size: Size = 32
    dropout: Rate = 0.0
    hidden_dropout: Rate = 0.0

    @model_validator(mode="after")
    def _one_stride_per_layer(self) -> "SvggSpec":
        one_per("strides", len(self.strides), "entry of channels", len(self.channels))
        return self

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        steps = zip(self.channels, self.strides, strict=True)
        return ConvStack(
            in_channels,
            classes,
            convolutions=[Convolution(width, stride) for width, stride in steps],
            hidden=self.hidden,
            size=self.size,
            activations=activations,
            form="batch-norm",
            dropout=self.dropout,
            hidden_dropout=self.hidden_dropout,
        )
