"""Plain stacks of convolutions: VGG, the SVGG of Louis et al., and networks written as a list of layers."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from neurodeploy.networks.convstack import ConvStack, Form, StackedConvolution
from neurodeploy.networks.definition import NetworkSettings, Rate, Size, Stride, Width, one_per

Depth = Literal[5, 7, 9, 11, 16]
Layers = tuple[Width | Literal["A"], ...]

LAYERS: dict[Depth, Layers] = {
    5: (64, "A", 128, 128, "A"),
    7: (64, "A", 128, 256, "A", 256, 512, "A"),
    9: (64, "A", 128, 256, "A", 256, 512, "A", 512, "A", 512),
    11: (64, "A", 128, 256, "A", 512, 512, "A", 512, "A", 512, 512),
    16: (64, 64, "A", 128, 128, "A", 256, 256, 256, "A", 512, 512, 512, "A", 512, 512, 512),
}
"""Convolutions (their widths) and average pools ("A") of each depth; a depth's number is a name, not a count of layers.

5, 9, 11 and 16 are those of the public code of Rathi et al. 2020, LaSNN's reference for its networks; some of its copies have
11 as 64, A, 128, 256, 256, A, 512, 512, 512, A, 512, 512. It has no 7: ours, a working form, is 9 cut after its fifth
convolution, since 5 has three and 9 has seven.
"""


class VggSpec(NetworkSettings):
    """`kind = "vgg"`: see `ConvStack` for the structure and the taps.

    The form "plain" (no batch norm, no bias, dropout) is the one that LaSNN and Rathi et al. convert and distil; "batch-norm"
    is LaSNN's teacher, whose details are not public: our working form, with biases in the linear layers alone, because a batch
    norm has its own. In the reference 0.2 and 0.5 are the dropout rates, and a pool takes the place of a dropout.

    Event frames (`[B, T, 2, H, W]`) need no network of their own: the usual VGG for DVS data is `layers = [64, 128, "A", 256,
    256, "A", 512, 512, "A", 512, 512, "A"]`, `hidden = []`, `form = "batch-norm"`, `size = 48` (Deng et al. 2022).

    Attributes:
        depth: one of `LAYERS`; or
        layers: one's own list of widths and "A".
        hidden: widths of the linear layers before the classifier.
        size: resolution of the samples.
        form: "plain" or "batch-norm".
        dropout: rate behind convolutions; 0.2 in the form "plain" and 0 in the other if not given.
        hidden_dropout: rate behind hidden layers.
    """

    network: ClassVar = ConvStack
    kind: Literal["vgg"] = "vgg"
    depth: Depth | None = None
    layers: Layers | None = Field(default=None, min_length=1)
    hidden: tuple[Width, ...] = (4096, 4096)
    size: Size = 32
    form: Form = "plain"
    dropout: Rate | None = None
    hidden_dropout: Rate = 0.5

    @model_validator(mode="after")
    def _one_list_of_layers(self) -> "VggSpec":
        if (self.depth is None) == (self.layers is None):
            raise ValueError("either depth or layers expected, and not both")
        _convolutions(self._layers)
        return self

    @property
    def _layers(self) -> Layers:
        return self.layers if self.depth is None else LAYERS[self.depth]  # type: ignore[return-value]

    def arguments(self) -> dict[str, Any]:
        dropout = (0.2 if self.form == "plain" else 0.0) if self.dropout is None else self.dropout
        own = self.model_dump(exclude={"kind", "depth", "layers"})
        return own | {"convolutions": _convolutions(self._layers), "dropout": dropout}


def _convolutions(layers: Layers) -> list[StackedConvolution]:
    convolutions: list[StackedConvolution] = []
    for position, (layer, following) in enumerate(zip(layers, (*layers[1:], 0), strict=True)):
        if layer != "A":
            convolutions.append(StackedConvolution(layer, pooled=following == "A"))
        elif position == 0 or layers[position - 1] == "A":
            raise ValueError(f"layers: entry {position + 1} is a pool without a convolution before it")
    return convolutions


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

    network: ClassVar = ConvStack
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

    def arguments(self) -> dict[str, Any]:
        convolutions = [StackedConvolution(*step) for step in zip(self.channels, self.strides, strict=True)]
        return self.model_dump(exclude={"kind", "channels", "strides"}) | {"convolutions": convolutions, "form": "batch-norm"}


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

    network: ClassVar = ConvStack
    kind: Literal["conv-linear"] = "conv-linear"
    channels: tuple[Width, Width, Width] = (64, 128, 256)
    hidden: Width = 1024
    size: Size = 32
    form: Form = "plain"
    hidden_dropout: Rate = 0.5

    def arguments(self) -> dict[str, Any]:
        convolutions = [StackedConvolution(width, pooled=True) for width in self.channels]
        return self.model_dump(exclude={"kind", "channels"}) | {"convolutions": convolutions, "hidden": (self.hidden,)}
