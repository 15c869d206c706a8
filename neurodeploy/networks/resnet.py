"""ResNets for images, and for sequences of one spatial axis."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from torch import nn

from neurodeploy.dynamics.layers import GlobalAvgPool1d, GlobalAvgPool2d, GlobalMaxPool1d
from neurodeploy.networks.blocks import Residual, ResidualNetwork, Shortcut, Style, stages
from neurodeploy.networks.convstack import Form
from neurodeploy.networks.definition import Activations, Count, NetworkSettings, Rate, Stride, Width, one_per
from neurodeploy.networks.resolution import ExpectAxes, Halve

Stem = Literal["conv", "three-conv", "imagenet"]
Preset = Literal["resnet12", "resnet18", "resnet19", "resnet20-wide", "resnet34"]

_FOUR = (64, 128, 256, 512)
PRESETS: dict[Preset, dict[str, Any]] = {
    "resnet12": {"channels": _FOUR, "blocks": (1, 1, 1, 1), "stem": "three-conv", "form": "plain", "dropout": 0.2},
    "resnet18": {"channels": _FOUR, "blocks": (2, 2, 2, 2)},
    "resnet19": {"channels": (128, 256, 512), "blocks": (3, 3, 2)},
    "resnet20-wide": {"channels": _FOUR, "blocks": (2, 2, 2, 2), "stem": "three-conv", "shortcut": "avg-pool"},
    "resnet34": {"channels": _FOUR, "blocks": (3, 4, 6, 3), "stem": "imagenet"},
}
"""Name → settings, for images of 32×32 but for the last, of 224×224.

- resnet12: LaSNN and its reference, Rathi et al. 2020, whose public code gives stem, blocks, no batch norm, no bias and the
  dropout. It flattens 2×2 pixels before the classifier; the global pool here is our working form.
- resnet18: He et al. 2016 with a 3×3 stem, as is usual for small images; `stem = "imagenet"` makes it the original.
- resnet19: EnOF-SNN, after Zheng et al. 2021, as in the public code of EnOF-SNN's authors, without Zheng's second linear layer.
- resnet20-wide: EnOF-SNN's "ResNet-20", as in the public code of its authors, which starts the last batch norm of each block
  at 0; here all start at 1.
- resnet34: He et al. 2016. The stem's pool is of 2×2 rather than 3×3 with padding, which a graph cannot hold: a working form.
"""


class ResNet(ResidualNetwork):
    """Convolutional stem, then stages of basic blocks, global average pool; each stage after the first halves the resolution.

    Stem: "conv" is one 3×3 convolution; "three-conv" three of them and an average pool of 2×2; "imagenet" a 7×7 convolution of
    stride 2 and that pool. Its activations, and taps, are `stem`, `stem2`, `stem3`; with the residual "ms" the last of them is
    absent, because the first block begins with its own. See `neurodeploy.networks.blocks` for the blocks and for the place of
    RepAct.

    Args:
        in_channels: channels of the sample.
        classes: K.
        channels: width of each stage; the stem has that of the first.
        blocks: number of blocks of each stage.
        activations: ReLU (teacher) or spiking (student).
        stem, shortcut, residual, form: see above and `blocks.Style`.
        dropout: rate behind each block's inner activation, and the stem's activations that are not pooled.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        channels: Sequence[int],
        blocks: Sequence[int],
        activations: Activations,
        stem: Stem = "conv",
        shortcut: Shortcut = "conv",
        residual: Residual = "standard",
        form: Form = "batch-norm",
        dropout: float = 0.0,
    ) -> None:
        style = Style(activations, 2, shortcut, form, dropout)
        strides = [1] + [2] * (len(channels) - 1)
        super().__init__(
            classes,
            stem=_stem(stem, in_channels, channels[0], style, ends_with_current=residual == "ms"),
            blocks=stages(channels, blocks, [3] * len(channels), strides, channels[0]),
            residual=residual,
            style=style,
            pool=GlobalAvgPool2d(),
        )


def _stem(kind: Stem, inputs: int, width: int, style: Style, *, ends_with_current: bool) -> dict[str, nn.Module]:
    """Name → layer. The first convolution runs once per sample in direct coding, before the encoding."""
    kernel, stride, count = {"conv": (3, 1, 1), "three-conv": (3, 1, 3), "imagenet": (7, 2, 1)}[kind]
    layers: dict[str, nn.Module] = {"entry": style.activations.entry(), "axes": ExpectAxes(2)}
    for i in range(1, count + 1):
        suffix = "" if i == 1 else str(i)
        layers[f"conv{suffix}"] = style.conv(inputs if i == 1 else width, width, kernel, stride)
        layers[f"bn{suffix}"] = style.norm(width)
        if i == 1:
            layers["encoding"] = style.activations.encoding()
        if i == count and ends_with_current:
            break
        layers[f"stem{suffix}"] = style.activations.make()
        if i < count or kind == "conv":
            layers[f"dropout{suffix}"] = style.drop()
    if kind != "conv":
        layers["stem_pool"] = Halve("stem_pool")
    return layers


class ResNetSpec(NetworkSettings):
    """`kind = "resnet"`: see `ResNet`.

    Attributes:
        preset: a name in `PRESETS`, whose settings hold where the recipe gives none of its own.
        channels, blocks, stem, shortcut, residual, form, dropout: see `ResNet`.
    """

    network: ClassVar = ResNet
    kind: Literal["resnet"] = "resnet"
    preset: Preset | None = None
    channels: tuple[Width, ...] = Field(min_length=1)
    blocks: tuple[Count, ...]
    stem: Stem = "conv"
    shortcut: Shortcut = "conv"
    residual: Residual = "standard"
    form: Form = "batch-norm"
    dropout: Rate = 0.0

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, given: Any) -> Any:
        name = given.get("preset") if isinstance(given, Mapping) else None
        return {**PRESETS[name], **given} if isinstance(name, str) and name in PRESETS else given

    @model_validator(mode="after")
    def _one_count_per_stage(self) -> "ResNetSpec":
        one_per("blocks", len(self.blocks), "entry of channels", len(self.channels))
        return self

    def arguments(self) -> dict[str, Any]:
        return self.model_dump(exclude={"kind", "preset"})


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

    network: ClassVar = ResNet1d
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
