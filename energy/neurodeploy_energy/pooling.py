"""Average pools of spikes: folded into the layer that reads them, which must be told from any other that reads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy_energy.exact import whole_numbers
from neurodeploy_energy.signals import Signal


@dataclass(eq=False)
class Pooled:
    """Spikes on their way through an average pool: what went in, kept until the end of the batch for those who read it.

    Rows that are `analog`, if there are any, went through it as analog values and are not folded.
    Holding the output keeps its memory from being given to another tensor, so that its address identifies it.
    """

    layer: str
    spikes: Tensor
    signal: Signal
    axes: int
    sums: Callable[[Tensor], Tensor]
    output: Tensor
    version: int
    analog: NDArray[np.bool_] | None = None
    folded: bool = False

    def is_read_as(self, x: Tensor) -> bool:
        """Whether `x` is the pool's output as it was made, at most reshaped: same values in the same order."""
        same_order = x.shape == self.output.shape and x.stride() == self.output.stride()
        reshaped = x.is_contiguous() and self.output.is_contiguous() and x.numel() == self.output.numel()
        return x._version == self.version and (same_order or reshaped)

    def is_copied_to(self, x: Tensor) -> bool:
        """Whether `x` holds the pool's output in memory of its own: so does a reshape of channels that lie last in memory."""
        made = self.output
        return x.numel() == made.numel() and made._version == self.version and torch.equal(x.reshape(-1), made.reshape(-1))


def spikes_of(signal: Signal, analog: NDArray[np.bool_] | None) -> int:
    """Whole numbers other than 0, in the rows that are not analog."""
    present = whole_numbers(signal.present.sum(1))
    return int(present.sum() if analog is None else present[~analog].sum())


def few_channels(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Of `[C, S]` the channels that are not all 0, and their values."""
    channels = missing.sum(1).nonzero()[:, 0]
    return channels, missing[channels]


def beside(mask: Tensor, rows: Tensor) -> Tensor:
    """`[R]` with as many axes as `rows`."""
    return mask.reshape(-1, *(1,) * (rows.dim() - 1))
