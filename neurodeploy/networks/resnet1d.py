"""Residual networks for sequences of feature vectors, such as the MFCCs of a spoken word."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from torch import nn

from neurodeploy.layers import GlobalAvgPool1d, GlobalMaxPool1d
from neurodeploy.networks.activation import Activations
from neurodeploy.networks.blocks import Residual, Style
from neurodeploy.networks.residual import ResidualNetwork, stages
from neurodeploy.networks.resolution import ExpectAxes
from neurodeploy.networks.settings import Count, NetworkSettings, Stride, Width, one_per

Pool = Literal["max", "avg"]


class ResNet1d(ResidualNetwork):
    """One convolution, then stages of blocks of two, with batch norm; a global pool over the length; classifier.

    Samples are `[B, C, L]`: features (such as cepstral coefficients) are channels, the audio's own time is the length; the T
    time steps of the neurons come on top. Taps: `stem`, then those of `neurodeploy.networks.blocks`.

    Args:
        in_channels: features per frame.
        classes: K.
        channels: width of the stem, then of each stage.
        kernels: odd kernel of the stem, then of each stage.
        strides: of the stem, then of each stage's first block.
        blocks: number of blocks of each stage.
        activations: ReLU (teacher) or spiking (student).
        residual: kind of the blocks.
        pool: what is taken over the length, maximum or mean.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        channels: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        blocks: Sequence[int],
        activations: Activations,
        residual: Residual = "sew",
        pool: Pool = "max",
    ) -> None:
        style = Style(activations, axes=1)
        stem: dict[str, nn.Module] = {
            "entry": activations.entry(),
            "axes": ExpectAxes(1),
            "conv": style.conv(in_channels, channels[0], kernels[0], strides[0]),
            "bn": style.norm(channels[0]),
            "encoding": activations.encoding(),
        }
        if residual != "ms":
            stem["stem"] = activations.make()
        super().__init__(
            classes,
            stem=stem,
            blocks=stages(channels[1:], blocks, kernels[1:], strides[1:], channels[0]),
            residual=residual,
            style=style,
            pool=GlobalMaxPool1d() if pool == "max" else GlobalAvgPool1d(),
        )


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"kernel {kernel}: an odd number expected, so that the length is kept")
    return kernel


class ResNet1dSpec(NetworkSettings):
    """`kind = "resnet1d"`: see `ResNet1d`. By default the Spiking ResNet-8 with which Louis et al. spot keywords.

    Filters, kernels, strides, three blocks with the activation before the sum, and the maximum over the length are those of the
    authors' public code and configuration (MFCC, 10 channels of length 49). Theirs takes a maximum where a stage's stride is
    not 1; strided convolutions there are our working form, of which the default makes no use.

    Attributes:
        channels, kernels, strides: one entry for the stem and one for each stage.
        blocks: number of blocks of each stage.
        residual, pool: see `ResNet1d`.
    """

    kind: Literal["resnet1d"] = "resnet1d"
    channels: tuple[Width, ...] = Field(default=(64, 64), min_length=2)
    kernels: tuple[Annotated[int, Field(ge=1, le=255), AfterValidator(_odd)], ...] = (7, 3)
    strides: tuple[Stride, ...] = (1, 1)
    blocks: tuple[Count, ...] = (3,)
    residual: Residual = "sew"
    pool: Pool = "max"

    @model_validator(mode="after")
    def _lists_of_one_length(self) -> "ResNet1dSpec":
        one_per("kernels", len(self.kernels), "entry of channels", len(self.channels))
        one_per("strides", len(self.strides), "entry of channels", len(self.channels))
        one_per("blocks", len(self.blocks), "stage, an entry of channels after the first", len(self.channels) - 1)
        return self

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        return ResNet1d(
            in_channels,
            classes,
            channels=self.channels,
            kernels=self.kernels,
            strides=self.strides,
            blocks=self.blocks,
            activations=activations,
            residual=self.residual,
            pool=self.pool,
        )
