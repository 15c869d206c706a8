"""Networks as a recipe describes them: validated settings that build teacher and student from one definition."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from neurodeploy.networks.activation import Activations
from neurodeploy.networks.convnet import ConvNet
from neurodeploy.networks.resnet import ResNet

Width = Annotated[int, Field(ge=1, le=65536)]


class ConvNetSpec(BaseModel):
    """`kind = "conv"`: see `ConvNet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["conv"] = "conv"
    channels: tuple[Width, ...] = Field(min_length=1)
    strides: tuple[Annotated[int, Field(ge=1, le=8)], ...]

    @model_validator(mode="after")
    def _one_stride_per_layer(self) -> "ConvNetSpec":
        if len(self.strides) != len(self.channels):
            raise ValueError(f"{len(self.strides)} strides found, {len(self.channels)} expected (one per entry of channels)")
        return self

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        return ConvNet(in_channels, classes, channels=self.channels, strides=self.strides, activations=activations)


class ResNetSpec(BaseModel):
    """`kind = "resnet"`: see `ResNet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["resnet"] = "resnet"
    channels: tuple[Width, ...] = Field(min_length=1)
    blocks: tuple[Annotated[int, Field(ge=1, le=100)], ...]

    @model_validator(mode="after")
    def _one_count_per_stage(self) -> "ResNetSpec":
        if len(self.blocks) != len(self.channels):
            raise ValueError(f"{len(self.blocks)} blocks found, {len(self.channels)} expected (one per entry of channels)")
        return self

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        return ResNet(in_channels, classes, channels=self.channels, blocks=self.blocks, activations=activations)


NetworkSpec = Annotated[ConvNetSpec | ResNetSpec, Field(discriminator="kind")]
