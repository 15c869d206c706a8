"""Bootstrap intervals: seeds are drawn with replacement, then samples within each; percentiles of the means (Efron 1979)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
DRAWS, CONFIDENCE = 2000, 0.95


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low, high: its ends.
        over: what was drawn: "seeds", "samples", or "seeds and samples".
    """

    low: float
    high: float
    over: str


def mean_draws(seeds: Sequence[Values], *, draws: int = DRAWS, seed: int = 0) -> tuple[Values, str] | None:
    """Means of resampled data.

    The same `seed` and sizes give the same choice: the draws of two models on one test set are then paired, sample by sample
    and seed by seed, and so is the interval of their difference.

    Args:
        seeds: for each seed the values of its samples `[N]`, or one value `[1]` where only the mean is known.
        draws: how many.
        seed: of the random numbers.

    Returns:
        `[draws]` means and what was drawn; None if there is a single value.
    """
    several, sampled = len(seeds) > 1, max(len(values) for values in seeds) > 1
    if not several and not sampled:
        return None
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(seeds), size=(draws, len(seeds)))
    means = np.empty((draws, len(seeds)))
    for draw in range(draws):
        for place, index in enumerate(chosen[draw]):
            values = seeds[index]
            means[draw, place] = values[generator.integers(len(values), size=len(values))].mean()
    over = {(True, True): "seeds and samples", (True, False): "seeds", (False, True): "samples"}[several, sampled]
    return means.mean(axis=1), over


def interval(draws: Values, over: str, *, confidence: float = CONFIDENCE) -> Interval:
    """Percentiles of the draws."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(float(low), float(high), over)
