"""Threshold balancing: the activations that a ReLU network reaches on data, and thresholds that follow from them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil, floor

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from neurodeploy.io.errors import UserError


def positive_percentile(batches: Iterable[Tensor], samples: int, percentile: float) -> float | None:
    """The percentile of all values above 0, interpolated linearly between two of them as `numpy.percentile` does.

    Only the largest values are kept, a share of `1 − percentile / 100` of the total.

    Args:
        batches: `[T, b, …]`, with equally many values per sample.
        samples: the sum of all `b`.
        percentile: above 0, at most 100; 100 is the maximum.

    Returns:
        None if no value is above 0.
    """
    largest, count, share = torch.empty(0), 0, 1 - percentile / 100
    for batch in batches:
        total = batch.numel() // batch.shape[1] * samples
        positive = batch[batch > 0]
        count += positive.numel()
        candidates = torch.cat([largest.to(positive), positive])
        # two more: the rank is one of count − 1 intervals, and is rounded down
        largest = candidates.topk(min(candidates.numel(), ceil(share * total) + 2)).values
    if count == 0:
        return None
    rank = percentile / 100 * (count - 1)
    above, below = (largest[count - 1 - index].item() for index in (min(floor(rank) + 1, count - 1), floor(rank)))
    return below + (above - below) * (rank - floor(rank))


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

        yield from self._seen(network, network.get_submodule(layer).register_forward_pre_hook(stop))

    def outputs_of(self, network: nn.Module, layer: str) -> Iterator[Tensor]:
        """What the layer of this name answers, `[T, b, …]` for every batch."""

        def stop(_module: nn.Module, _arguments: tuple[Tensor, ...], answer: Tensor) -> None:
            raise _Reached(answer)

        yield from self._seen(network, network.get_submodule(layer).register_forward_hook(stop))

    def _seen(self, network: nn.Module, hook: RemovableHandle) -> Iterator[Tensor]:
        device = next(network.parameters()).device
        with hook:  # removed at the end, also when the caller takes no further batch
            for batch in self.samples.split(self.batch_size):
                try:
                    with torch.no_grad():
                        network(batch.to(device))
                except _Reached as reached:
                    yield reached.seen


_CANDIDATES = 95


def largest_current(network: nn.Module, layer: str, probe: Probe, percentile: float) -> float:
    """The maximum, or a percentile, of the positive pre-activations of one layer.

    In the spiking network that is "spiking" balancing, in the ReLU network "activations".

    Args:
        network: in evaluation mode; every earlier layer as it is to stay.
        layer: name of its spiking layer, or of its ReLU.
        probe: the calibration samples.
        percentile: above 0, at most 100.

    Raises:
        UserError: no pre-activation is above 0, so that no threshold can be found.
    """
    largest = positive_percentile(probe.inputs_of(network, layer), len(probe), percentile)
    if largest is None:
        raise _silent(layer, len(probe))
    return largest


def least_error(teacher: nn.Module, layer: str, probe: Probe, steps: int) -> float:
    """The threshold of the least error of the firing rate against the activation ("error").

    Args:
        teacher: the ReLU network, in evaluation mode.
        steps: T.
        layer, probe: see `largest_current`.

    Raises:
        UserError: no activation is above 0.
    """
    found = threshold_of_least_error(lambda: _activations(teacher, layer, probe), steps)
    if found is None:
        raise _silent(layer, len(probe))
    return found


def threshold_of_least_error(activations: Callable[[], Iterator[Tensor]], steps: int, *, nearest: bool = False) -> float | None:
    """The threshold with the least squared error of an IF neuron's rate against activations; None if none is above 0.

    Args:
        activations: gives them anew, batch after batch.
        steps: T.
        nearest: the rate is rounded to the nearest multiple of 1/T instead of down.
    """
    largest = max(float(batch.max()) for batch in activations())
    if largest <= 0:
        return None
    candidates = [(1 - 0.01 * i) * largest for i in range(_CANDIDATES)]
    return candidates[int(_errors(activations(), candidates, steps, 0.5 if nearest else 0.0).argmin())]


def _activations(teacher: nn.Module, layer: str, probe: Probe) -> Iterator[Tensor]:
    return (batch.clamp_min(0) for batch in probe.inputs_of(teacher, layer))


def _errors(batches: Iterable[Tensor], candidates: list[float], steps: int, offset: float) -> Tensor:
    errors = torch.zeros(len(candidates), dtype=torch.float64)
    for a in batches:
        for i, threshold in enumerate(candidates):
            rate = (a * (steps / threshold) + offset).floor().clamp_max(steps) * (threshold / steps)
            errors[i] += (a - rate).square().sum(dtype=torch.float64).cpu()
    return errors


def _silent(layer: str, samples: int) -> UserError:
    return UserError(
        f"layer {layer}: none of its neurons is ever driven above 0 by the {samples} calibration samples; "
        "calibrate with more of the training data, or train the teacher again"
    )
