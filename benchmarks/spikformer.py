"""Spikformer-8-512 at 224 × 224, as small as it can be written: the transformer on which the cost of counting is measured.

After Zhou et al., Spikformer: When Spiking Neural Network Meets Transformer, ICLR 2023 (arXiv 2209.15425): patches by four
convolutions, then blocks of attention without softmax and of two layers, all with batch norm and spikes between.
"""

from itertools import pairwise

from torch import Tensor, nn

from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters


class Layer(nn.Module):
    """Synapses and a batch norm with time folded into the batch, then neurons: `[T, B, …]` → `[T, B, …]`."""

    def __init__(self, synapses: nn.Module, norm: nn.Module, threshold: float = 1.0) -> None:
        super().__init__()
        self.synapses, self.norm = synapses, norm
        self.neurons = Neuron(NeuronParameters(decay=0.5, threshold=threshold))

    def forward(self, x: Tensor) -> Tensor:
        folded = self.norm(self.synapses(x.flatten(0, 1)))
        return self.neurons(folded.unflatten(0, x.shape[:2]))


def patches(before: int, after: int) -> Layer:
    """A convolution over an image."""
    return Layer(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))


def tokens(before: int, after: int) -> Layer:
    """A layer over tokens `[…, C, N]`."""
    return Layer(nn.Conv1d(before, after, 1), nn.BatchNorm1d(after))


class Attention(nn.Module):
    """Spiking self-attention: q kᵀ v, scaled, without softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (tokens(width, width) for _ in range(4))
        self.neurons = Neuron(NeuronParameters(decay=0.5, threshold=0.5))

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, N]` → the same."""
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(-2, -1) for layer in (self.q, self.k, self.v))
        attended = (q @ k.transpose(-2, -1)) @ v * 0.125
        return self.out(self.neurons(attended.transpose(-2, -1).flatten(2, 3)))


class Block(nn.Module):
    """Attention and two layers, each with a shortcut of spikes."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.up, self.down = tokens(width, 4 * width), tokens(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.down(self.up(x))


class Spikformer(nn.Module):
    """Images `[B, 3, H, W]` → `[B, classes]`; H and W are multiples of 16.

    Args:
        steps: T.
        blocks: of the encoder.
        width: channels of a token.
        heads: of the attention.
        classes: of the answer.
    """

    def __init__(self, steps: int = 4, blocks: int = 8, width: int = 512, heads: int = 8, classes: int = 1000) -> None:
        super().__init__()
        self.steps = steps
        widths = (3, width // 8, width // 4, width // 2, width)
        self.stem = nn.ModuleList(patches(before, after) for before, after in pairwise(widths))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.position = patches(width, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = images.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        for layer in self.stem:
            x = layer(x)
            x = self.pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        x = (x + self.position(x)).flatten(3)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(3)).mean(0)
