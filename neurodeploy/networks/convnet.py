"""A plain convolutional network: 3×3 convolutions, batch norm, strides instead of pooling, global average pool, classifier."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from neurodeploy.dynamics.layers import BatchNorm2d, Conv2d, GlobalAvgPool2d, TimeMean
from neurodeploy.networks.definition import Activations, NetworkOutput, NetworkSettings, Stride, Width, one_per
from neurodeploy.networks.resolution import ExpectAxes


class ConvNet(nn.Module):
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
        self.depth = len(channels)
        self.entry, self.axes, self.encoding = activations.entry(), ExpectAxes(2), activations.encoding()
        widths = [in_channels, *channels]
        for i, stride in enumerate(strides, start=1):
            self.add_module(f"conv{i}", Conv2d(widths[i - 1], widths[i], 3, stride, padding=1, bias=False))
            self.add_module(f"bn{i}", BatchNorm2d(widths[i]))
            self.add_module(f"act{i}", activations.make(last=i == self.depth))
        self.pool = GlobalAvgPool2d()
        self.classifier = nn.Linear(channels[-1], classes)
        self.readout = TimeMean()

    def forward(self, sample: Tensor) -> NetworkOutput:
        """`[B, C, H, W]`, or event frames `[B, T, C, H, W]` → `NetworkOutput`.

        Raises:
            UserError: samples of other axes.
        """
        x, taps = self.axes(self.entry(sample)), {}
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(x))
            if i == 1:
                x = self.encoding(x)
            x = taps[f"act{i}"] = self.get_submodule(f"act{i}")(x)
        features = self.pool(x)
        step_logits = self.classifier(features)
        return NetworkOutput(self.readout(step_logits), step_logits, features, taps)


class ConvNetSpec(NetworkSettings):
    """`kind = "conv"`: see `ConvNet`."""

    kind: Literal["conv"] = "conv"
    channels: tuple[Width, ...] = Field(min_length=1)
    strides: tuple[Stride, ...]

    @model_validator(mode="after")
    def _one_stride_per_layer(self) -> "ConvNetSpec":
        one_per("strides", len(self.strides), "entry of channels", len(self.channels))
        return self

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        return ConvNet(in_channels, classes, channels=self.channels, strides=self.strides, activations=activations)
