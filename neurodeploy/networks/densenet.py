"""DenseNet: a ReLU teacher, whose layers read all layers before them."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from neurodeploy.dynamics.layers import BatchNorm2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from neurodeploy.io.errors import UserError
from neurodeploy.networks.definition import Activations, Count, LayeredNetwork, NetworkSettings, Relu, Width, initialise
from neurodeploy.networks.resolution import ExpectAxes, Halve

DenseStem = Literal["imagenet", "conv"]


class DenselyConnectedLayer(nn.Module):
    """`x ‖ conv2(act2(bn2(conv1(act1(bn1(x))))))`: a 1×1 and a 3×3 convolution add `growth` channels to their input."""

    def __init__(self, inputs: int, growth: int, activations: Activations) -> None:
        super().__init__()
        self.bn1 = BatchNorm2d(inputs)
        self.act1 = activations.make()
        self.conv1 = Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = BatchNorm2d(4 * growth)
        self.act2 = activations.make()
        self.conv2 = Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, H, W]` → `[T, B, C + growth, H, W]`."""
        new = self.conv2(self.act2(self.bn2(self.conv1(self.act1(self.bn1(x))))))
        return torch.cat([x, new], 2)


class Transition(nn.Module):
    """`pool(conv(act(bn(x))))`: half the channels, half the resolution."""

    def __init__(self, name: str, inputs: int, activations: Activations) -> None:
        super().__init__()
        self.bn = BatchNorm2d(inputs)
        self.act = activations.make()
        self.conv = Conv2d(inputs, inputs // 2, 1, bias=False)
        self.pool = Halve(f"{name}.pool")

    def forward(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """`[T, B, C, H, W]` → the activation as its tap, and `[T, B, C/2, H/2, W/2]`."""
        active = self.act(self.bn(x))
        return {"act": active}, self.pool(self.conv(active))


class DenseNet(LayeredNetwork):
    """Stem, dense blocks with transitions between them, batch norm and ReLU, global average pool, classifier.

    It teaches and is not taught: a graph has no concatenation. Taps: `stem`, then the activation that ends each block,
    `transition1.act`, …, and `act`: one for every resolution.

    Args:
        in_channels: channels of the sample.
        classes: K.
        growth: channels that each layer adds.
        blocks: number of layers of each dense block.
        stem: "imagenet" is a 7×7 convolution of stride 2 and a maximum pool of stride 2, "conv" one 3×3 convolution.
        activations: ReLU.

    Raises:
        UserError: the activations are spiking.
    """

    def __init__(
        self, in_channels: int, classes: int, *, growth: int, blocks: Sequence[int], stem: DenseStem, activations: Activations
    ) -> None:
        super().__init__()
        if not isinstance(activations, Relu):
            raise UserError(
                'network kind = "densenet": spiking activations found, ReLU expected; it is a teacher only, '
                "because its concatenations have no form on a chip: take a student of another kind"
            )
        width, large = 2 * growth, stem == "imagenet"
        kernel, stride, padding = (7, 2, 3) if large else (3, 1, 1)
        self.append("entry", activations.entry())
        self.append("axes", ExpectAxes(2))
        self.append("conv", Conv2d(in_channels, width, kernel, stride, padding=padding, bias=False))
        self.append("bn", BatchNorm2d(width))
        self.append("stem", activations.make(), tap=True)
        self.append("stem_pool", MaxPool2d(3, 2, padding=1) if large else nn.Identity())
        for number, count in enumerate(blocks, start=1):
            for i in range(1, count + 1):
                self.append(f"block{number}_layer{i}", DenselyConnectedLayer(width, growth, activations))
                width += growth
            if number < len(blocks):
                self.append(f"transition{number}", Transition(f"transition{number}", width, activations))
                width //= 2
        self.append("bn_last", BatchNorm2d(width))
        self.append("act", activations.make(last=True), tap=True)
        self.append("pool", GlobalAvgPool2d())
        self.classify(width, classes)
        initialise(self, activations, normalised=True)


class DenseNetSpec(NetworkSettings):
    """`kind = "densenet"`: DenseNet-121 of Huang et al. 2017 by default, as a teacher.

    Structure, growth 32, bottlenecks of 4 · growth and transitions that halve the channels are printed there.

    Attributes:
        growth, blocks, stem: see `DenseNet`.
    """

    network: ClassVar = DenseNet
    kind: Literal["densenet"] = "densenet"
    growth: Width = 32
    blocks: tuple[Count, ...] = Field(default=(6, 12, 24, 16), min_length=1)
    stem: DenseStem = "imagenet"
