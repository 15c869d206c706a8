"""An exact percentile of values that come in batches and never fit into memory together."""

from collections.abc import Iterable
from math import ceil, floor

import torch
from torch import Tensor


def positive_percentile(batches: Iterable[Tensor], samples: int, percentile: float) -> float | None:
    """The percentile of all values above 0, interpolated linearly between two of them as `numpy.percentile` does.

    Only the largest values are kept, a share of `1 − percentile / 100` of the total.

    Args:
        batches: `[T, b, …]`, with equally many values per sample.
        samples: the sum of all `b`.
        percentile: above 0, at most 100; 100 is the maximum.

    Returns:
        None if no value is above 0.
    """
    largest, count, share = torch.empty(0), 0, 1 - percentile / 100
    for batch in batches:
        total = batch.numel() // batch.shape[1] * samples
        positive = batch[batch > 0]
        count += positive.numel()
        candidates = torch.cat([largest.to(positive), positive])
        largest = candidates.topk(min(candidates.numel(), ceil(share * total) + 2)).values
    if count == 0:
        return None
    place = percentile / 100 * (count - 1)
    above, below = (largest[count - 1 - index].item() for index in (min(floor(place) + 1, count - 1), floor(place)))
    return below + (above - below) * (place - floor(place))
