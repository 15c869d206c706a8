"""The VGG networks of LaSNN and of hybrid training: average pools, wide hidden layers, with or without batch norm."""

from typing import Literal

from pydantic import Field, model_validator
from torch import nn

from neurodeploy.networks.activation import Activations
from neurodeploy.networks.convstack import Convolution, ConvStack, Form
from neurodeploy.networks.settings import NetworkSettings, Rate, Size, Width

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

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        dropout = (0.2 if self.form == "plain" else 0.0) if self.dropout is None else self.dropout
        return ConvStack(
            in_channels,
            classes,
            convolutions=_convolutions(self._layers),
            hidden=self.hidden,
            size=self.size,
            activations=activations,
            form=self.form,
            dropout=dropout,
            hidden_dropout=self.hidden_dropout,
        )


def _convolutions(layers: Layers) -> list[Convolution]:
    found: list[Convolution] = []
    for position, (layer, following) in enumerate(zip(layers, (*layers[1:], 0), strict=True)):
        if layer != "A":
            found.append(Convolution(layer, pooled=following == "A"))
        elif position == 0 or layers[position - 1] == "A":
            raise ValueError(f"layers: entry {position + 1} is a pool without a convolution before it")
    return found
