"""A smaller data set of the same balance: the first n samples of every class."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neurodeploy.errors import UserError


def first_of_each_class(labels: ArrayLike, limit: int | None, classes: int, source: Path) -> NDArray[np.int64]:
    """Positions of the samples to use, ascending, so that the original order stays.

    Args:
        labels: integers `[N]`, 0 … classes − 1.
        limit: n per class; None for all samples.
        classes: K.
        source: what the error names.

    Raises:
        UserError: there is no sample at all, or a class has fewer than `limit`.
    """
    found = np.asarray(labels, np.int64)
    if not found.size:
        raise UserError(f"{source}: empty, at least one sample expected; put the official files there")
    if limit is None:
        return np.arange(len(found))
    counts = np.bincount(found, minlength=classes)
    if counts.min() < limit:
        scarce = int(counts.argmin())
        raise UserError(f"{source}: class {scarce} has {counts[scarce]} samples, fewer than the limit {limit}; lower the limit")
    order = np.argsort(found, kind="stable")
    starts = np.cumsum(counts) - counts
    return np.sort(order[(starts[:, None] + np.arange(limit)).ravel()])
