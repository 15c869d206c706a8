"""Accuracy of an exported artefact and its agreement with the sample, measured by running it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.bundle import MeasuredAccuracy, Sample

_BATCH = 250
LOGITS_ATOL = 1e-4


class RightAnswers(Protocol):
    """An accuracy measured before export."""

    @property
    def correct(self) -> int: ...

    @property
    def samples(self) -> int: ...


def measure(
    answer: Callable[[NDArray[np.float32]], NDArray[Any]],
    samples: NDArray[np.float32],
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
    correct = 0
    for start in range(0, len(labels), _BATCH):
        batch = slice(start, start + _BATCH)
        logits = answer(samples[:, batch] if timed else samples[batch])
        correct += int((logits.argmax(-1) == labels[batch]).sum())
    return MeasuredAccuracy(correct=correct, samples=len(labels))


def disagreement(found: Mapping[str, NDArray[Any]], sample: Sample, logits: str) -> tuple[int, float]:
    """Spikes in which a float artefact differs from the sample, and the tolerance of the logits that this asks for.

    Args:
        found: tensor name → value, by the artefact; at least the sample's spiking layers and the logits.
        sample: what the reference interpreter computed.
        logits: name of that tensor.
    """
    wrong = sum(int(np.count_nonzero(found[layer] != spikes)) for layer, spikes in sample.spikes.items())
    return wrong, max(LOGITS_ATOL, float(np.abs(found[logits] - sample.logits).max()))
