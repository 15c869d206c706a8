"""Values that come later: the same number of steps for a whole layer, or a number of its own for each neuron."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function


def delayed(x: Tensor, steps: Any, *, axis: int = 0) -> Tensor:
    """`y[t] = x[t − steps]`, and 0 in the first steps.

    Args:
        x: any shape with an axis of time.
        steps: whole numbers from 0 on: one, or an array (of numpy) that broadcasts against one sample.
        axis: of time: 0 of `[T, B, …]`, or −1 of `[B, …, T]`.

    Returns:
        In the shape of `x`.
    """
    if has_torch_function((x,)):  # so that a tracer sees this, and not its parts
        return handle_torch_function(delayed, (x,), x, steps, axis=axis)
    first = x if axis == 0 else x.movedim(axis, 0)
    late = torch.zeros_like(first)
    for distance in np.unique(steps).tolist():
        shifted = torch.zeros_like(first)
        shifted[distance:] = first[: max(0, len(first) - distance)]
        if not np.ndim(steps):
            late = shifted
            continue
        late = torch.where(torch.from_numpy(np.asarray(steps == distance)).to(x.device), shifted, late)
    return late if axis == 0 else late.movedim(0, axis)
