"""Whether what a network answers for a sample is its own affair, whatever else is in the batch; found out by trying."""

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

TRIED = 2
"""Samples whose answers must stay as they are."""
_ROUNDING = 1e-5
"""Of the largest logit: torch takes sums in another order for other numbers of rows."""


class _Decided(Exception):
    """A network took a number out of a tensor."""


class _WithoutDecisions(TorchDispatchMode):
    """Stops what reads a value of a tensor in Python, by which it may decide what is done to the whole batch.

    Args:
        own: addresses of the network's own tensors, whose values say nothing of the batch.
    """

    def __init__(self, own: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._own = own

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in _READING and args[0].data_ptr() not in self._own:
            raise _Decided
        return function(*args, **(kwargs or {}))


_READING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)


@torch.no_grad()
def samples_apart(network: nn.Module, samples: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> bool:
    """Whether a batch may be divided without another answer for any of its samples, as far as a trial tells.

    Two samples, which must not be answered alike, must have the same answers, up to rounding, between two that are like none
    of them, without a random number drawn and without a value of a tensor read in Python, by which the whole batch could be
    treated otherwise. A copy of the network that shares its parameters is asked, so that nothing is left in the network
    itself; one that has hooks, which would see these samples too, is not asked.

    Args:
        network: in evaluation mode, on the CPU.
        samples: `[B, …]`, of which two are tried; one tells nothing.
        run: answers of a network for a batch, `[B, K]`.

    Returns:
        False too where it cannot be found out.
    """
    if len(samples) < TRIED or not samples.is_floating_point() or any(map(_is_watched, network.modules())):
        return False
    few = samples[:TRIED]
    between = torch.cat([-3 * few[:1] + 1, few, 5 * few[1:] - 2])  # other minima, maxima and means
    state = torch.get_rng_state()
    try:
        probe = copy.deepcopy(network, {id(one): one for one in network.parameters()})
        with _WithoutDecisions({one.data_ptr() for one in chain(probe.parameters(), probe.buffers())}):
            alone, beside = (run(probe, batch) for batch in (few, between))
        drawn = not torch.equal(torch.get_rng_state(), state)
    except Exception:  # whatever somebody else's code raises for a batch that it was not given
        return False
    finally:
        torch.set_rng_state(state)
    near = _ROUNDING * float(alone.abs().max())
    same, alike = (bool(((alone - others).abs() <= near).all()) for others in (beside[1:-1], alone[:1]))
    return not drawn and same and not alike


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
