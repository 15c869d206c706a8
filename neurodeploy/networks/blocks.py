"""Residual blocks, and the networks that are stacks of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from neurodeploy.dynamics.layers import Add, BatchNorm1d, BatchNorm2d, Conv1d, Conv2d, Dropout
from neurodeploy.networks.convstack import Form
from neurodeploy.networks.definition import Activations, LayeredNetwork, initialise
from neurodeploy.networks.resolution import Halve

Residual = Literal["standard", "sew", "ms"]
Shortcut = Literal["conv", "avg-pool"]
Taps = dict[str, Tensor]


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share.

    Attributes:
        activations: ReLU (teacher) or spiking (student).
        axes: 1 for `[T, B, C, L]`, 2 for `[T, B, C, H, W]`.
        shortcut: what a shortcut does where the shape changes: a strided 1×1 convolution ("conv"), or an average pool of 2×2
            and a 1×1 convolution ("avg-pool", in two dimensions only).
        form: "batch-norm", or "plain" without it.
        dropout: rate behind a block's first activation, or its second where activations come before the convolutions.
    """

    activations: Activations
    axes: int = 2
    shortcut: Shortcut = "conv"
    form: Form = "batch-norm"
    dropout: float = 0.0

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
        """A convolution without bias, padded so that it keeps the resolution at stride 1."""
        layer: type[Conv1d | Conv2d] = Conv1d if self.axes == 1 else Conv2d
        return layer(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)

    def norm(self, width: int) -> nn.Module:
        if self.form == "plain":
            return nn.Identity()
        return BatchNorm1d(width) if self.axes == 1 else BatchNorm2d(width)

    def drop(self) -> nn.Module:
        return Dropout(self.dropout) if self.dropout else nn.Identity()


@dataclass(frozen=True)
class Shape:
    """What one block does to its input.

    Attributes:
        name: of the block.
        inputs, outputs: channels.
        kernel: of both convolutions.
        stride: of the first one, and of the shortcut.
        last: no block follows.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    last: bool = False

    @property
    def projects(self) -> bool:
        return self.stride != 1 or self.inputs != self.outputs


def projection(shape: Shape, style: Style) -> nn.Module:
    """The shortcut: nothing, or what makes its input as large as the block's output."""
    if not shape.projects:
        return nn.Identity()
    layers: list[nn.Module] = []
    pooled = style.shortcut == "avg-pool" and shape.stride != 1
    if pooled:
        layers.append(Halve(f"{shape.name}.shortcut.0", even=True))
    layers.append(style.conv(shape.inputs, shape.outputs, 1, 1 if pooled else shape.stride))
    if style.form == "batch-norm":
        layers.append(style.norm(shape.outputs))
    return nn.Sequential(*layers)


class Block(nn.Module):
    """What the three kinds share: two convolutions, their norms and activations, a shortcut and a sum.

    Attributes:
        ends_active: `act2` comes after both convolutions, so that in the last block it is the activation before the classifier.
    """

    ends_active: ClassVar[bool] = True

    def __init__(self, shape: Shape, style: Style) -> None:
        super().__init__()
        self.conv1 = style.conv(shape.inputs, shape.outputs, shape.kernel, shape.stride)
        self.bn1 = style.norm(shape.outputs)
        self.act1 = style.activations.make()
        self.dropout = style.drop()
        self.conv2 = style.conv(shape.outputs, shape.outputs, shape.kernel)
        self.bn2 = style.norm(shape.outputs)
        self.shortcut = projection(shape, style)
        self.add = Add()
        self.act2 = style.activations.make(last=shape.last and self.ends_active)


class StandardBlock(Block):
    """`act2(bn2(conv2(act1(bn1(conv1(x))))) + shortcut(x))`: the ResNet block with ReLU replaced by neurons.

    The shortcut's current and the second convolution's meet in the membrane, so that spikes enter and spikes leave. RepAct's
    ReLU is `act2` of the last block, after its sum (EnOF-SNN).
    """

    def forward(self, x: Tensor) -> tuple[Taps, Tensor]:
        """Spikes `[T, B, C, …]` → the block's taps and its output, which is its last tap."""
        inner = self.act1(self.bn1(self.conv1(x)))
        y = self.act2(self.add(self.bn2(self.conv2(self.dropout(inner))), self.shortcut(x)))
        return {"act1": inner, "act2": y}, y


class SewBlock(Block):
    """`act2(bn2(conv2(act1(bn1(conv1(x)))))) + act_shortcut(shortcut(x))`: the sum is that of spikes (SEW, function ADD).

    An identity shortcut has no activation. What leaves is a number of spikes: 0, 1, 2, … in the n-th block up to n + 1, so that
    no chip that takes single spikes can hold more than one block. Where `partition` cuts, the spikes cross and both parts add
    them up. Source: Fang et al. 2021, figure 1 and public code. RepAct, our working form: its ReLU is `act2` of the last block,
    before the sum; a shortcut that has an activation keeps its neurons.
    """

    def __init__(self, shape: Shape, style: Style) -> None:
        super().__init__(shape, style)
        self.act_shortcut = style.activations.make() if shape.projects else None

    def forward(self, x: Tensor) -> tuple[Taps, Tensor]:
        """Spike counts `[T, B, C, …]` → the block's taps, and its output, which is no tap: it is no activation."""
        taps = {"act1": self.act1(self.bn1(self.conv1(x)))}
        taps["act2"] = self.act2(self.bn2(self.conv2(self.dropout(taps["act1"]))))
        kept = self.shortcut(x)
        if self.act_shortcut is not None:
            kept = taps["act_shortcut"] = self.act_shortcut(kept)
        return taps, self.add(taps["act2"], kept)


class MembraneBlock(Block):
    """`bn2(conv2(act2(bn1(conv1(act1(x)))))) + shortcut(x)`: activations come before the convolutions, currents are summed.

    The shortcut carries currents through the whole network, and projects them where the shape changes: real numbers, not
    spikes, so that such a network has no spiking body to put on a chip; `partition` names the layer. Source: Hu et al. 2021
    (MS-ResNet) and their public code, in which the batch norms start at the threshold and at 0; here they start at 1. RepAct,
    our working form: the activation after the last block's sum, which belongs to the network, becomes its ReLU.
    """

    ends_active = False

    def forward(self, x: Tensor) -> tuple[Taps, Tensor]:
        """Currents `[T, B, C, …]` → the block's taps, and its output, which is no tap: it is no activation."""
        taps = {"act1": self.act1(x)}
        taps["act2"] = self.act2(self.bn1(self.conv1(taps["act1"])))
        return taps, self.add(self.bn2(self.conv2(self.dropout(taps["act2"]))), self.shortcut(x))


BLOCKS: dict[Residual, type[StandardBlock | SewBlock | MembraneBlock]] = {
    "standard": StandardBlock,
    "sew": SewBlock,
    "ms": MembraneBlock,
}


class ResidualNetwork(LayeredNetwork):
    """`stem → blocks → (activation) → pool → classifier → mean over time`.

    The activation after the blocks, `act`, exists with the residual "ms" alone, whose blocks end with currents. Taps: the
    stem's activations, then each block's in order of depth, `block1.act1`, `block1.act2`, …, then `act`.

    Args:
        classes: K.
        stem: name → layer, in order; a name that begins with "stem" and is no pool is an activation and a tap.
        blocks: in order; each reads as many channels as the one before it writes.
        residual: kind of the blocks.
        style: what they share.
        pool: layer from `[T, B, C, …]` to `[T, B, C]`.
    """

    def __init__(
        self,
        classes: int,
        *,
        stem: Mapping[str, nn.Module],
        blocks: Sequence[Shape],
        residual: Residual,
        style: Style,
        pool: nn.Module,
    ) -> None:
        super().__init__()
        for name, layer in stem.items():
            self.append(name, layer, tap=name.startswith("stem") and not name.endswith("pool"))
        for shape in blocks:
            self.append(shape.name, BLOCKS[residual](shape, style))
        if residual == "ms":
            self.append("act", style.activations.make(last=True), tap=True)
        self.append("pool", pool)
        self.classify(blocks[-1].outputs, classes, bias=style.form == "batch-norm")
        initialise(self, style.activations, normalised=style.form == "batch-norm")


def stages(
    channels: Sequence[int], blocks: Sequence[int], kernels: Sequence[int], strides: Sequence[int], inputs: int
) -> list[Shape]:
    """The blocks of all stages: a stage's first block changes width and resolution, the others keep them.

    Args:
        channels, blocks, kernels, strides: width, number of blocks, kernel and stride of each stage.
        inputs: channels that the stem writes.
    """
    plan = [
        (width, kernel, stride if i == 0 else 1)
        for width, count, kernel, stride in zip(channels, blocks, kernels, strides, strict=True)
        for i in range(count)
    ]
    widths = [inputs, *(width for width, _, _ in plan)]
    return [
        Shape(f"block{number}", widths[number - 1], width, kernel, stride, last=number == len(plan))
        for number, (width, kernel, stride) in enumerate(plan, start=1)
    ]
