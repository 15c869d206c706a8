"""A strict comparison, `h > θ`, for frameworks that only have `h ≥ θ'`."""

import math

import torch


def non_strict(threshold: float) -> float:
    """The next float32 above θ, as θ': `h ≥ θ'` and `h > θ` then say the same of every float32 h."""
    above = torch.nextafter(torch.tensor(threshold, dtype=torch.float32), torch.tensor(math.inf))
    return float(above)
