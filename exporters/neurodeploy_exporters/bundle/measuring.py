"""Accuracy of an exported artefact and its agreement with the sample, measured by running it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.bundle.bundle import Sample
from neurodeploy_exporters.bundle.manifest import MeasuredAccuracy

_BATCH = 250
LOGITS_ATOL = 1e-4


class Inputs(Protocol):
    """Test samples, `[N, …]` or `[T, N, …]`: an array, or something that makes one batch after the other."""

    def __getitem__(self, batch: Any, /) -> NDArray[np.float32]: ...


class RightAnswers(Protocol):
    """An accuracy measured before export."""

    @property
    def correct(self) -> int: ...

    @property
    def samples(self) -> int: ...


def measure(
    answer: Callable[[NDArray[np.float32]], NDArray[Any]],
    samples: Inputs,
    labels: NDArray[np.int64],
    *,
    timed: bool,
) -> MeasuredAccuracy:
    """Count right answers.

    Args:
        answer: samples → logits `[B, K]`, by the artefact.
        samples: `[N, …]`, or sequences `[T, N, …]` if `timed`.
        labels: `[N]`.
        timed: whether the samples are sequences.
    """
    found = classes(answer, samples, len(labels), timed=timed)
    return MeasuredAccuracy(correct=int((found == labels).sum()), samples=len(labels))


def classes(
    answer: Callable[[NDArray[np.float32]], NDArray[Any]], samples: Inputs, count: int, *, timed: bool
) -> NDArray[np.int64]:
    """The most likely class of each sample, `[N]`; see `measure`."""
    found = []
    for start in range(0, count, _BATCH):
        batch = slice(start, min(start + _BATCH, count))
        found.append(answer(samples[:, batch] if timed else samples[batch]).argmax(-1))
    return np.concatenate(found)


def disagreement(found: Mapping[str, NDArray[Any]], sample: Sample, logits: str) -> tuple[int, float]:
    """Spikes in which a float artefact differs from the sample, and the tolerance of the logits that this asks for.

    Args:
        found: tensor name → value, by the artefact; at least the sample's spiking layers and the logits.
        sample: what the reference interpreter computed.
        logits: name of that tensor.
    """
    wrong = sum(int(np.count_nonzero(found[layer] != spikes)) for layer, spikes in sample.spikes.items())
    return wrong, max(LOGITS_ATOL, float(np.abs(found[logits] - sample.logits).max()))
