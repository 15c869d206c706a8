"""A current that is the same at every step, as direct coding makes it: its gradient is summed over time where it is computed.

`x.expand(T, …)` costs nothing forwards; its gradient would be a tensor `[T, …]` that is written only to be summed.
"""

import torch
from torch import Tensor

_VIEWS = {"ExpandBackward0", "ViewBackward0", "UnsqueezeBackward0"}


def repeated(current: Tensor) -> Tensor | None:
    """What `current`, `[T, …]`, repeats: `[1, …]`, whose gradient goes straight to it; None if `current` is no such view.

    Only views stand between the two, none with a gradient of its own to tell, so nothing that autograd would do is left out.
    """
    base = current._base
    if base is None or len(current) < 2 or current.stride(0) != 0 or current.retains_grad or not torch.is_grad_enabled():
        return None
    same = base.numel() == current[0].numel() and base.data_ptr() == current.data_ptr()
    plain = base.is_contiguous() and current[0].is_contiguous()
    ordered = plain or (base.shape == current.shape[1:] and base.stride() == current.stride()[1:])
    if not (same and ordered and base.grad_fn is not None):
        return None
    place = current.grad_fn
    while place is not None and place is not base.grad_fn:
        if place.name() not in _VIEWS:
            return None
        place = place.next_functions[0][0]
    return None if place is None else base.view(1, *current.shape[1:])
