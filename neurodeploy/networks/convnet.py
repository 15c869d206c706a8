"""A plain convolutional network: 3×3 convolutions, batch norm, strides instead of pooling, global average pool, classifier."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from neurodeploy.dynamics.layers import BatchNorm2d, Conv2d, GlobalAvgPool2d
from neurodeploy.networks.definition import Activations, LayeredNetwork, NetworkSettings, Stride, Width, one_per
from neurodeploy.networks.resolution import ExpectAxes


class ConvNet(LayeredNetwork):
    """Convolution → batch norm → activation, once per entry of `channels`.

    With direct coding the first convolution sees the static sample and runs once; its current is repeated at every step.
    Taps: `act1 … actN`.

    Args:
        in_channels: channels of the sample.
        classes: K.
        channels: output channels of each convolution.
        strides: stride of each convolution.
        activations: ReLU (teacher) or spiking (student).
    """

    def __init__(
        self, in_channels: int, classes: int, *, channels: Sequence[int], strides: Sequence[int], activations: Activations
    ) -> None:
        super().__init__()
        self.append("entry", activations.entry())
        self.append("axes", ExpectAxes(2))
        widths = [in_channels, *channels]
        for i, stride in enumerate(strides, start=1):
            self.append(f"conv{i}", Conv2d(widths[i - 1], widths[i], 3, stride, padding=1, bias=False))
            self.append(f"bn{i}", BatchNorm2d(widths[i]))
            if i == 1:
                self.append("encoding", activations.encoding())
            self.append(f"act{i}", activations.make(last=i == len(channels)), tap=True)
        self.append("pool", GlobalAvgPool2d())
        self.classify(channels[-1], classes)


class ConvNetSpec(NetworkSettings):
    """`kind = "conv"`: see `ConvNet`."""

    network: ClassVar = ConvNet
    kind: Literal["conv"] = "conv"
    channels: tuple[Width, ...] = Field(min_length=1)
    strides: tuple[Stride, ...]

    @model_validator(mode="after")
    def _one_stride_per_layer(self) -> "ConvNetSpec":
        one_per("strides", len(self.strides), "entry of channels", len(self.channels))
        return self
