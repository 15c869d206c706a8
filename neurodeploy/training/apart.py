"""Whether what a network answers for a sample is its own affair, whatever else is in the batch; found out by trying."""

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurodeploy.training.unchanged import Likeness

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


class _Shapes(TorchDispatchMode):
    """Writes down what is called, and whether anything is made of samples that has no axis of them: it is of the whole batch.

    Args:
        count: of samples; nothing else is to be a multiple of it.
    """

    def __init__(self, count: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls, self.whole, self._count = list[Any](), False, count

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        self.calls.append(function)
        fresh = function._schema.name.startswith("aten::new_")  # takes no value of what it is given
        read = [] if fresh else [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if any(map(self._of_samples, read)):
            tensors = (one for one in tree_leaves(made) if isinstance(one, Tensor))
            self.whole = self.whole or not all(map(self._of_samples, tensors))
        return made

    def _of_samples(self, x: Tensor) -> bool:
        return any(size and size % self._count == 0 for size in x.shape)


_READING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)


@dataclass(frozen=True)
class _Found:
    """What a trial told of a network as it was."""

    network: Likeness
    sample: tuple[Any, ...]
    apart: bool


_FOUND: "weakref.WeakKeyDictionary[nn.Module, _Found]" = weakref.WeakKeyDictionary()


def samples_apart(network: nn.Module, samples: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> bool:
    """`tried_apart`, or what that told the last time, if the network and the kind of samples are the same since.

    For arguments and answer see there.
    """
    now, sample = Likeness.of(network), (len(samples) < TRIED, samples.shape[1:], samples.dtype)
    before = _FOUND.get(network)
    if before is not None and now is not None and before.sample == sample and before.network.same(now):
        return before.apart and not any(map(_is_watched, network.modules()))
    found = tried_apart(network, samples, run)
    if now is not None:
        _FOUND[network] = _Found(now, sample, found)
    return found


@torch.no_grad()
def tried_apart(network: nn.Module, samples: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> bool:
    """Whether a batch may be divided without another answer for any of its samples, as far as a trial tells.

    Two samples, which must not be answered alike, must have the same answers, up to rounding, between two that are like none
    of them, without a random number drawn and without a value of a tensor read in Python, by which the whole batch could be
    treated otherwise. A copy of the network that shares its parameters is asked, so that nothing is left in the network
    itself; one that has hooks, which would see these samples too, is not asked. Two and ten thousand samples must be computed
    by the same operations, none of which makes of samples what has no axis of them.

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
        if not torch.equal(torch.get_rng_state(), state) or not _same_calls(probe, few, run):
            return False
    except Exception:  # whatever somebody else's code raises for a batch that it was not given
        return False
    finally:
        torch.set_rng_state(state)
    near = _ROUNDING * float(alone.abs().max())
    same, alike = (bool(((alone - others).abs() <= near).all()) for others in (beside[1:-1], alone[:1]))
    return same and not alike


def _same_calls(probe: nn.Module, samples: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> bool:
    """Whether few samples and very many are computed in the same way, and nothing is taken over all samples together.

    Only shapes are computed, which takes no memory.
    """
    called = []
    try:
        # numbers stay where they are, since a network may read its own
        probe = copy.deepcopy(probe)._apply(lambda own: own.to("meta") if own.ndim else own)
        for count in (TRIED, _PRIME):
            with _Shapes(count) as shapes:
                run(probe, samples.new_empty((count, *samples.shape[1:]), device="meta"))
            called.append(shapes.calls)
    except Exception:  # somebody else's code, which may need values
        return False
    return called[0] == called[1] and not shapes.whole


_PRIME = 10007
"""Samples; no layer is likely to have so many of anything else."""


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
