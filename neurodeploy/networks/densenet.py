"""DenseNet: a ReLU teacher, whose layers read all layers before them."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from neurodeploy.dynamics.layers import BatchNorm2d, Conv2d, GlobalAvgPool2d, MaxPool2d, TimeMean
from neurodeploy.io.errors import UserError
from neurodeploy.networks.definition import Activations, Count, NetworkOutput, NetworkSettings, Relu, Width, initialise
from neurodeploy.networks.resolution import ExpectAxes, Halve


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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[T, B, C, H, W]` → the activation, and `[T, B, C/2, H/2, W/2]`."""
        active = self.act(self.bn(x))
        return active, self.pool(self.conv(active))


class DenseNet(nn.Module):
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
        self,
        in_channels: int,
        classes: int,
        *,
        growth: int,
        blocks: Sequence[int],
        stem: Literal["imagenet", "conv"],
        activations: Activations,
    ) -> None:
        super().__init__()
        if not isinstance(activations, Relu):
            raise UserError(
                'network kind = "densenet": spiking activations found, ReLU expected; it is a teacher only, '
                "because its concatenations have no form on a chip: take a student of another kind"
            )
        width, large = 2 * growth, stem == "imagenet"
        self.entry, self.axes = activations.entry(), ExpectAxes(2)
        self.conv = Conv2d(in_channels, width, 7 if large else 3, 2 if large else 1, padding=3 if large else 1, bias=False)
        self.bn = BatchNorm2d(width)
        self.stem = activations.make()
        self.stem_pool = MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        self._path: list[str] = []
        for number, count in enumerate(blocks, start=1):
            for i in range(1, count + 1):
                self._place(f"block{number}_layer{i}", DenselyConnectedLayer(width, growth, activations))
                width += growth
            if number < len(blocks):
                self._place(f"transition{number}", Transition(f"transition{number}", width, activations))
                width //= 2
        self.bn_last = BatchNorm2d(width)
        self.act = activations.make(last=True)
        self.pool = GlobalAvgPool2d()
        self.classifier = nn.Linear(width, classes)
        self.readout = TimeMean()
        initialise(self, activations, normalised=True)

    def forward(self, sample: Tensor) -> NetworkOutput:
        """`[B, C, H, W]`, or event frames `[B, T, C, H, W]` → `NetworkOutput`.

        Raises:
            UserError: samples of other axes, or the resolution runs out; names the pool.
        """
        x = self.stem(self.bn(self.conv(self.axes(self.entry(sample)))))
        taps = {"stem": x}
        x = self.stem_pool(x)
        for name in self._path:
            layer = self.get_submodule(name)
            if isinstance(layer, Transition):
                taps[f"{name}.act"], x = layer(x)
            else:
                x = layer(x)
        x = taps["act"] = self.act(self.bn_last(x))
        features = self.pool(x)
        step_logits = self.classifier(features)
        return NetworkOutput(self.readout(step_logits), step_logits, features, taps)

    def _place(self, name: str, layer: nn.Module) -> None:
        self.add_module(name, layer)
        self._path.append(name)


class DenseNetSpec(NetworkSettings):
    """`kind = "densenet"`: DenseNet-121 of Huang et al. 2017 by default, as a teacher.

    Structure, growth 32, bottlenecks of 4 · growth and transitions that halve the channels are printed there.

    Attributes:
        growth, blocks, stem: see `DenseNet`.
    """

    kind: Literal["densenet"] = "densenet"
    growth: Width = 32
    blocks: tuple[Count, ...] = Field(default=(6, 12, 24, 16), min_length=1)
    stem: Literal["imagenet", "conv"] = "imagenet"

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        return DenseNet(in_channels, classes, growth=self.growth, blocks=self.blocks, stem=self.stem, activations=activations)
