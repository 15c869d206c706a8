"""Two residual networks as their users have them, in plain torch, for weights that others trained."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Its shortcut takes every second pixel and pads the new channels with zeros ("option A" of He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.more = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.more:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2), "constant", 0)
        out += x
        return F.relu(out)


class ResNet20(nn.Module):
    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, 10)

    def _stage(self, inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = BasicBlock(inputs, outputs, stride)
        return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


class TinyBlock(nn.Module):
    """A strided convolution pads at the end alone, as TensorFlow's "same" does."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1 if stride == 1 else 0)
        self.bn1 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding="same")
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        padded = x if self.stride == 1 else F.pad(x, (0, 1, 0, 1))
        out = torch.relu(self.bn1(self.conv1(padded)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet8(nn.Module):
    """Of MLPerf Tiny: it takes bytes, 0 to 255, as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding="same")
        self.bn = nn.BatchNorm2d(16, eps=1e-3)
        self.block1 = TinyBlock(16, 16, 1)
        self.block2 = TinyBlock(16, 32, 2)
        self.block3 = TinyBlock(32, 64, 2)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(x)))
        x = self.block3(self.block2(self.block1(x)))
        return self.classifier(x.mean((2, 3)))


def with_weights(network: nn.Module, path: Path) -> nn.Module:
    network.load_state_dict(load_file(path))
    return network.eval()
