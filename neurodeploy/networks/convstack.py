"""Convolutions, then linear layers: the plain chain behind the networks of VGG's kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import nn

from neurodeploy.dynamics.layers import BatchNorm2d, Conv2d, Dropout, Flatten
from neurodeploy.networks.definition import Activations, LayeredNetwork, Size, initialise
from neurodeploy.networks.resolution import ExpectSize, Halve, check_halving

Form = Literal["plain", "batch-norm"]


@dataclass(frozen=True)
class StackedConvolution:
    """A 3×3 convolution, padded by 1, with its activation.

    Attributes:
        width: output channels.
        stride: of the convolution.
        pooled: an average pool of 2×2 follows.
    """

    width: int
    stride: int = 1
    pooled: bool = False


class ConvStack(LayeredNetwork):
    """`conv → (batch norm) → activation → (pool or dropout)`, flatten, `linear → activation → dropout`, classifier.

    With direct coding the first convolution sees the static sample and runs once; its current is repeated at every step.
    Taps, and names of the layers: `act1 … actN` of the convolutions, `hidden_act1 … hidden_actM` of the linear layers. The
    last of them becomes the ReLU of RepAct. The classifier reads the last one's output, so that `features` is
    `[T, B, hidden[-1]]`.

    Args:
        in_channels: channels of the sample, or of one event frame.
        classes: K.
        convolutions: in order.
        hidden: widths of the linear layers before the classifier; may be empty.
        size: resolution of the samples; the first linear layer reads the pixels that the convolutions leave of it.
        activations: ReLU (teacher) or spiking (student).
        form: "plain" has neither batch norm nor any bias; "batch-norm" has batch norms behind its convolutions and biases in
            its linear layers.
        dropout: rate behind the convolutions that are not pooled.
        hidden_dropout: rate behind the hidden layers.

    Raises:
        UserError: the resolution runs out; names the pool.
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        *,
        convolutions: Sequence[StackedConvolution],
        hidden: Sequence[int],
        size: Size,
        activations: Activations,
        form: Form,
        dropout: float = 0.0,
        hidden_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sides = (size, size) if isinstance(size, int) else size
        self.append("samples", ExpectSize(sides))
        self.append("entry", activations.entry())
        width = in_channels
        for i, step in enumerate(convolutions, start=1):
            last = i == len(convolutions) and not hidden
            self.append(f"conv{i}", Conv2d(width, step.width, 3, step.stride, padding=1, bias=False))
            width = step.width
            if form == "batch-norm":
                self.append(f"bn{i}", BatchNorm2d(width))
            if i == 1:
                self.append("encoding", activations.encoding())
            self.append(f"act{i}", activations.make(last=last), tap=True)
            sides = (sides[0] - 1) // step.stride + 1, (sides[1] - 1) // step.stride + 1
            if step.pooled:
                check_halving(f"pool{i}", *sides)
                self.append(f"pool{i}", Halve(f"pool{i}"))
                sides = (sides[0] // 2, sides[1] // 2)
            elif dropout:
                self.append(f"dropout{i}", Dropout(dropout))
        self.append("flatten", Flatten())
        width *= prod(sides)
        for j, outputs in enumerate(hidden, start=1):
            self.append(f"hidden{j}", nn.Linear(width, outputs, bias=form == "batch-norm"))
            self.append(f"hidden_act{j}", activations.make(last=j == len(hidden)), tap=True)
            if hidden_dropout:
                self.append(f"hidden_dropout{j}", Dropout(hidden_dropout))
            width = outputs
        self.classify(width, classes, bias=form == "batch-norm")
        initialise(self, activations, normalised=form == "batch-norm")
