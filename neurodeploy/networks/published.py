"""Networks whose trained weights others publish, in plain torch, under the names that those files have.

The files are not part of this package: a recipe names one of these classes and the file that its user has fetched
(`teacher = { module = "neurodeploy.networks.published:CifarResNet", weights = … }`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CifarResNet(nn.Module):
    """The residual networks of He et al. (CVPR 2016, arXiv 1512.03385, section 4.2) of 6 n + 2 layers for 32×32 images.

    Weights: akamaster/pytorch_resnet_cifar10 (BSD-2-Clause), whose files `torch.save` wrote. Samples are RGB from 0 to 1, less
    (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225).

    Args:
        blocks: n of a stage; 3, 5 and 9 are ResNet-20, 32 and 56.
        classes: K.
        normalizes: it takes RGB from 0 to 1, as another network beside it does, and normalises them itself.
    """

    def __init__(self, blocks: int = 3, classes: int = 10, *, normalizes: bool = False) -> None:
        super().__init__()
        self.normalizes = normalizes
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, 1)
        self.layer2 = _stage(16, 32, blocks, 2)
        self.layer3 = _stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, 32, 32]` → logits `[B, K]`."""
        if self.normalizes:
            x = (x - _per_channel(x, _MEAN)) / _per_channel(x, _DEVIATION)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _per_channel(x: Tensor, values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=x.dtype, device=x.device)[:, None, None]


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_CifarBlock(inputs, outputs, stride), *(_CifarBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


class _CifarBlock(nn.Module):
    """Its shortcut takes every second pixel and pads the new channels with zeros, half of them before ("option A")."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.more:
            half = self.more // 2
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return torch.relu(y + x)


class TinyResNet8(nn.Module):
    """The image classifier of MLPerf Tiny (mlcommons/tiny, Apache-2.0): ResNet-8 for 32×32 images, 78 k parameters.

    The published network takes bytes from 0 to 255 as they are. This one takes them over 255 (`scale = "1/255"`) and multiplies
    the weights of its first layer instead: the same answers, and a first layer whose gradient is of the size of the others'.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16, eps=1e-3)
        self.block1 = _TinyBlock(16, 16, 1)
        self.block2 = _TinyBlock(16, 32, 2)
        self.block3 = _TinyBlock(32, 64, 2)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 3, 32, 32]` from 0 to 1 → logits `[B, K]`."""
        x = functional.conv2d(x, self.conv.weight * 255, self.conv.bias, padding=1)
        x = self.block3(self.block2(self.block1(torch.relu(self.bn(x)))))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


class _TinyBlock(nn.Module):
    """A strided convolution pads at the end alone, as TensorFlow's "same" does for images of an even size."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)
        self.pads = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(functional.pad(x, self.pads))))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))
