"""Inference in portions of a batch: the activations of all time steps of a few samples, not of all of them.

Layers over `[T, B, …]` have all steps of a layer in memory at once, which for a batch of 64 at T = 64 is a GiB. Samples do not
see each other, so a batch may go through the network a few samples at a time. A portion of at least four samples has the values
that the whole batch has, most often to the bit (measured with torch 2.13: products of few rows are summed in another order).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_LARGEST = 16 << 20  # bytes of a layer's output over all steps of a portion
_LEAST = 4  # samples


class Portions:
    """Divides batches for a network, so that no layer's output takes more than 16 MiB, where four samples allow it.

    The first four samples tell how large the outputs are; nothing runs twice.

    Args:
        network: takes samples `[B, …]`.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._size: int | None = None

    def of(self, batch: Tensor) -> Iterator[Tensor]:
        """`[B, …]` → portions `[b, …]`, in order; whole on a GPU. Each is to be run before the next is asked for."""
        if batch.device.type != "cpu" or len(batch) < 2 * _LEAST:
            yield batch
            return
        if self._size is None:
            with self._measuring(_LEAST):
                yield batch[:_LEAST]
            batch = batch[_LEAST:]
        assert self._size is not None
        count = max(1, min(-(-len(batch) // self._size), len(batch) // _LEAST))
        yield from batch.tensor_split(count)

    def at_once(self, samples: Tensor) -> int:
        """How many samples a pass takes, for who divides them himself: an extra pass of the first four tells."""
        if samples.device.type != "cpu" or len(samples) < 2 * _LEAST:
            return max(1, len(samples))
        if self._size is None:
            with self._measuring(_LEAST), torch.no_grad():
                self._network(samples[:_LEAST])
        assert self._size is not None
        count = min(-(-len(samples) // self._size), len(samples) // _LEAST)
        return -(-len(samples) // count)

    @contextmanager
    def _measuring(self, samples: int) -> Iterator[None]:
        largest = 1

        def see(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, output.numel() * output.element_size())

        handles = [module.register_forward_hook(see) for module in self._network.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._size = max(_LEAST, _LARGEST * samples // largest)
