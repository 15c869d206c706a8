"""Random draws, one per sample: from a given generator, else from torch's default one of the batch's device."""

import torch
from torch import Tensor


def uniform(shape: tuple[int, ...], batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """Float64 of `shape` in [0, 1), on the device of `batch`."""
    return torch.rand(shape, generator=generator, device=_source(batch, generator), dtype=torch.float64).to(batch.device)


def integers(low: int, high: int, shape: tuple[int, ...], batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """Int64 of `shape` from `low` to `high`, both included, on the device of `batch`."""
    drawn = torch.randint(low, high + 1, shape, generator=generator, device=_source(batch, generator))
    return drawn.to(batch.device)


def permutation(batch: Tensor, generator: torch.Generator | None) -> Tensor:
    """The indices of the samples of `batch` in random order, int64 `[B]`, on its device."""
    return torch.randperm(len(batch), generator=generator, device=_source(batch, generator)).to(batch.device)


def _source(batch: Tensor, generator: torch.Generator | None) -> torch.device:
    return batch.device if generator is None else generator.device
