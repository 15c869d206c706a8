"""Accuracy with its confidence interval, and spikes, of a network on a test set."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from math import sqrt
from statistics import mean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurodeploy.data.feeding import in_batches
from neurodeploy.data.samples import Samples
from neurodeploy.dynamics.cells import Cell
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.portions import Portions
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy.training.apart import TRIED, samples_apart
from neurodeploy_energy.count.recognition import reset_states

_Z95 = 1.959964


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers.

    Attributes:
        correct: number of samples answered rightly.
        samples: number of samples asked.
    """

    correct: int
    samples: int

    @property
    def percent(self) -> float:
        return 100 * self.correct / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval in percent."""
        n, p, z = self.samples, self.correct / self.samples, _Z95
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.percent:.2f} % ({self.correct} of {self.samples}; 95 % interval {low:.2f} to {high:.2f} %)"


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a test set.

    Attributes:
        accuracy: share of right answers.
        spikes: spiking layer → spikes per sample, summed over neurons and time steps.
        confusion: `[K, K]`, how many samples of each class (row) got each answer (column).
    """

    accuracy: Accuracy
    spikes: dict[str, float]
    confusion: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64), compare=False, repr=False)

    @property
    def by_class(self) -> dict[int, Accuracy]:
        """Accuracy of each class that has samples: the share of them that was recognised."""
        counts = self.confusion.sum(1)
        return {k: Accuracy(int(self.confusion[k, k]), int(count)) for k, count in enumerate(counts) if count}

    @property
    def spikes_per_sample(self) -> float:
        return sum(self.spikes.values())


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network is in evaluation mode inside, and every module of it as it was afterwards."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@torch.no_grad()
def evaluate(network: nn.Module, samples: Samples, labels: Tensor, *, batch_size: int = 50, workers: int = 0) -> Evaluation:
    """Run the network in evaluation mode over a test set.

    Args:
        network: returns a `NetworkOutput`, or logits `[B, K]` or `[T, B, K]`; neurons of other frameworks are reset before
            each batch.
        samples: `[N, C, H, W]`, on the device of the network if they are a tensor.
        labels: `[N]`, on that device.
        batch_size: samples per forward pass; on a CPU fewer, where the activations of all time steps would take much memory and
            a trial with two samples shows that a network answers each of them whatever else is in the batch.
        workers: processes that read samples which are no tensor.

    Raises:
        UserError: there are no samples, or as many labels as there are not; the network answers with something else, or a label
            is none of its classes.
    """
    if len(samples) != len(labels) or not len(labels):
        raise UserError(f"test set: {len(samples):,} samples and {len(labels):,} labels found, as many expected, at least one")
    with evaluating(network):
        divisible = _is_divisible(network, samples, batch_size, labels.device)
    counts = {name: 0 for name, module in network.named_modules() if _fires(module)}
    handles = [network.get_submodule(name).register_forward_hook(_counter(counts, name)) for name in counts]
    try:
        answers, classes = list[Tensor](), 0
        with evaluating(network):
            batches = in_batches(samples, batch_size, workers)
            for logits in _logits_of(network, batches, labels.device, divisible=divisible):
                if not answers:
                    classes = logits.shape[-1]
                    _check_labels(labels, classes)
                answers.append(logits.argmax(-1))
    finally:
        for handle in handles:
            handle.remove()
    total = len(labels)
    spikes = {name: count / total for name, count in counts.items()}
    pairs = (labels * classes + torch.cat(answers)).cpu()
    confusion = pairs.bincount(minlength=classes**2).reshape(classes, classes)
    return Evaluation(Accuracy(int(confusion.trace()), total), spikes, confusion.numpy())


@torch.no_grad()
def predict(network: nn.Module, samples: Samples, *, batch_size: int = 50, workers: int = 0) -> Tensor:
    """What a network answers: logits `[N, K]`, where the network is. It runs in evaluation mode and without gradients.

    Args:
        network, batch_size, workers: see `evaluate`.
        samples: `[N, …]`.

    Raises:
        UserError: there are no samples, or the network answers with something else than logits.
    """
    if not len(samples):
        raise UserError("samples: none found, at least one expected")
    weight = next(chain(network.parameters(), network.buffers()), None)
    device = torch.device("cpu") if weight is None else weight.device
    with evaluating(network):
        divisible, batches = _is_divisible(network, samples, batch_size, device), in_batches(samples, batch_size, workers)
        return torch.cat(list(_logits_of(network, batches, device, divisible=divisible)))


_OWN = ("neurodeploy.networks.", "neurodeploy.graph.", "neurodeploy.conversion.")
"""Where the networks are whose samples do not see each other, which needs no trial."""


def _is_divisible(network: nn.Module, samples: Samples, batch_size: int, device: torch.device) -> bool:
    """Whether a batch may go through a network in portions; to be asked in evaluation mode, before there are hooks."""
    if type(network).__module__.startswith(_OWN):
        return True
    most = min(batch_size, len(samples), TRIED)
    return device.type == "cpu" and samples_apart(network, samples[torch.arange(most)], _run)


def _logits_of(network: nn.Module, batches: Iterable[Tensor], device: torch.device, *, divisible: bool) -> Iterator[Tensor]:
    """`[b, K]` of one portion of a batch after the other."""
    portions = Portions(network)
    for batch in batches:
        whole = batch.to(device)
        for x in portions.of(whole) if divisible else (whole,):
            yield _run(network, x)


def _run(network: nn.Module, batch: Tensor) -> Tensor:
    """Logits `[B, K]`; neurons of other frameworks are reset before."""
    reset_states(network)
    return _logits(network(batch), len(batch))


def _check_labels(labels: Tensor, classes: int) -> None:
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise UserError(
            f"test set: label of sample {first} is {int(labels[first])}, 0 to {classes - 1} expected: the network tells "
            f"{classes} classes apart"
        )


def _logits(answer: object, batch: int) -> Tensor:
    """`[B, K]`, of an answer `[T, B, K]` the mean over time."""
    logits = answer.logits if isinstance(answer, NetworkOutput) else answer
    if isinstance(logits, Tensor) and logits.ndim == 3 and logits.shape[1] == batch:
        logits = logits.mean(0)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != batch:
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"the network answers {batch} samples with {found}, logits [B, K] or [T, B, K] expected")
    return logits


def mean_and_interval(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean over seeds and the half width of its 95 % interval (Student's t); a single value has no interval."""
    numbers = list(values)
    if len(numbers) < 2:
        return numbers[0], None
    from scipy.special import (
        stdtrit,  # Student's quantile as scipy.stats has it, without the seconds which that takes to import
    )

    return mean(numbers), float(stdtrit(len(numbers) - 1, 0.975)) * stdev(numbers) / sqrt(len(numbers))


def _fires(module: nn.Module) -> bool:
    return isinstance(module, Neuron) or (isinstance(module, Cell) and module.spiking)


def _counter(counts: dict[str, int], name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
        counts[name] += int(torch.count_nonzero(spikes))

    return hook
