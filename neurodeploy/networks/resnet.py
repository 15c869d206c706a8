"""A small residual network of basic blocks, spiking after each residual sum."""

from collections.abc import Sequence

from torch import Tensor, nn

from neurodeploy.layers import Add, BatchNorm2d, Conv2d, GlobalAvgPool2d, TimeMean
from neurodeploy.networks.activation import Activations
from neurodeploy.networks.output import NetworkOutput


class BasicBlock(nn.Module):
    """`act2(bn2(conv2(act1(bn1(conv1(x))))) + shortcut(x))`; the shortcut is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, activations: Activations, *, last: bool) -> None:
        super().__init__()
        self.conv1 = Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(outputs)
        self.act1 = activations.make()
        self.conv2 = Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm2d(outputs))
        self.add = Add()
        self.act2 = activations.make(last=last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`[T, B, C, H, W]` → the block's inner activation and its output."""
        inner = self.act1(self.bn1(self.conv1(x)))
        return inner, self.act2(self.add(self.bn2(self.conv2(inner)), self.shortcut(x)))


class ResNet(nn.Module):
    """Convolutional stem, then stages of basic blocks; each stage after the first halves the resolution.

    With RepAct the ReLU stands where the last block's spiking layer was, after its residual sum. Taps: `stem`, then
    `block1.act1`, `block1.act2`, ….

    Args:
        in_channels: channels of the sample.
        classes: K.
        channels: width of each stage.
        blocks: number of blocks of each stage.
        activations: ReLU (teacher) or spiking (student).
    """

    def __init__(
        self, in_channels: int, classes: int, *, channels: Sequence[int], blocks: Sequence[int], activations: Activations
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.bn = BatchNorm2d(channels[0])
        self.entry, self.encoding = activations.entry(), activations.encoding()
        self.stem = activations.make()
        plan = [
            (width, 2 if stage > 0 and i == 0 else 1)
            for stage, (width, count) in enumerate(zip(channels, blocks, strict=True))
            for i in range(count)
        ]
        self.depth = len(plan)
        width = channels[0]
        for number, (outputs, stride) in enumerate(plan, start=1):
            block = BasicBlock(width, outputs, stride, activations, last=number == self.depth)
            self.add_module(f"block{number}", block)
            width = outputs
        self.pool = GlobalAvgPool2d()
        self.classifier = nn.Linear(width, classes)
        self.readout = TimeMean()

    def forward(self, sample: Tensor) -> NetworkOutput:
        """`[B, C, H, W]`, or event frames `[B, T, C, H, W]` → `NetworkOutput`."""
        x = self.stem(self.encoding(self.bn(self.conv(self.entry(sample)))))
        taps = {"stem": x}
        for number in range(1, self.depth + 1):
            inner, x = self.get_submodule(f"block{number}")(x)
            taps[f"block{number}.act1"], taps[f"block{number}.act2"] = inner, x
        features = self.pool(x)
        step_logits = self.classifier(features)
        return NetworkOutput(self.readout(step_logits), step_logits, features, taps)
