"""What a layer reads and what it answers while samples run through a network; the layers after it do not run."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


class _Reached(Exception):
    """Ends a forward pass at the layer observed, and carries what was seen there."""

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        self.seen = seen


@dataclass(frozen=True, eq=False)
class Probe:
    """Calibration samples to send through networks in evaluation mode.

    Attributes:
        samples: `[N, …]`; moved to a network's device batch by batch.
        batch_size: samples per forward pass.
    """

    samples: Tensor
    batch_size: int

    def __len__(self) -> int:
        return len(self.samples)

    def inputs_of(self, network: nn.Module, layer: str) -> Iterator[Tensor]:
        """What the layer of this name reads, `[T, b, …]` for every batch."""

        def stop(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            raise _Reached(arguments[0])

        handle = network.get_submodule(layer).register_forward_pre_hook(stop)
        try:
            yield from self._seen(network)
        finally:
            handle.remove()

    def outputs_of(self, network: nn.Module, layer: str) -> Iterator[Tensor]:
        """What the layer of this name answers, `[T, b, …]` for every batch."""

        def stop(_module: nn.Module, _arguments: tuple[Tensor, ...], answer: Tensor) -> None:
            raise _Reached(answer)

        handle = network.get_submodule(layer).register_forward_hook(stop)
        try:
            yield from self._seen(network)
        finally:
            handle.remove()

    def _seen(self, network: nn.Module) -> Iterator[Tensor]:
        device = next(network.parameters()).device
        for batch in self.samples.split(self.batch_size):
            try:
                with torch.no_grad():
                    network(batch.to(device))
            except _Reached as reached:
                yield reached.seen
