"""Sums of products of whole numbers in float64, checked to be exact."""

import numpy as np
from torch import Tensor

from neurodeploy_energy.tally import Counts

_EXACT = 2**53


def per_row(counts: Tensor, fan: Tensor) -> Counts:
    """`[R, S]` counts · `[S]` fan-out → `[R]`, exact."""
    return whole_numbers(counts[:, 0] * fan[0] if len(fan) == 1 else counts @ fan)


def whole_numbers(rows: Tensor) -> Counts:
    """Whole numbers in float64 as int64, checked to have stayed below 2⁵³, where float64 is exact."""
    values = rows.cpu().numpy()
    if values.size and values.max() >= _EXACT:
        raise OverflowError("more than 2^53 synaptic operations in one sample's step; use smaller values")
    return values.astype(np.int64)


def dot(counts: Tensor, fan: Tensor) -> int:
    """Σ count · fan-out, exact: both are whole numbers in float64, and the sum is checked to stay below 2⁵³."""
    total = float((counts * fan).sum())
    if total >= _EXACT:
        raise OverflowError("more than 2^53 synaptic operations in one batch; use smaller batches")
    return int(total)
