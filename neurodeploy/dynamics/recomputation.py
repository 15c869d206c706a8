"""Recomputation: what lies between layers of neurons is computed again in the backward pass instead of being kept.

A training keeps, of every layer and all T time steps, what its convolution, its batch norm and its neurons need for their
gradients. Spikes alone are enough to compute the rest again, from one layer of neurons to the next.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurodeploy.dynamics.cells import Cell
from neurodeploy.dynamics.layers import Neuron

_again: ContextVar[bool] = ContextVar("computed_again", default=False)


def is_computed_again() -> bool:
    """Whether a layer is called for the second time, in a backward pass: nothing of it is to be counted or remembered."""
    return _again.get()


def has_neurons(layer: nn.Module) -> bool:
    """Whether a layer, or a layer in it, is one of neurons of this package: every call of it starts anew."""
    return any(isinstance(module, Neuron | Cell) for module in layer.modules())


def ends(places: Sequence[int]) -> list[int]:
    """Where the segments end that are computed again, of the places where layers of neurons end, in order.

    The last quarter, at least one, stays as it is: what it keeps is small in most networks, and free again when the backward
    pass comes to the first layers, while it takes as long to compute as theirs.
    """
    return list(places[: len(places) - max(1, len(places) // 4)])


def recomputed(run: Callable[..., Any], given: Iterable[Tensor], layers: Iterable[nn.Module]) -> Any:
    """What `run` makes of tensors; the backward pass calls it once more, with the same random numbers.

    Args:
        run: calls these layers.
        given: its arguments, which are kept.
        layers: whose running statistics are not to count the second call.
    """
    buffers = [buffer for layer in layers for buffer in layer.buffers()]
    return checkpoint(run, *given, use_reentrant=False, context_fn=partial(_contexts, buffers))


def _contexts(buffers: list[Tensor]) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _second(buffers)


@contextmanager
def _second(buffers: list[Tensor]) -> Iterator[None]:
    before = [buffer.clone() for buffer in buffers]
    token = _again.set(True)
    try:
        yield
    finally:
        _again.reset(token)
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
