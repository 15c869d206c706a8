"""Accuracy of an exported artefact, measured by running it."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.bundle import MeasuredAccuracy

_BATCH = 250


class RightAnswers(Protocol):
    """An accuracy measured before export."""

    @property
    def correct(self) -> int: ...

    @property
    def samples(self) -> int: ...


def measure(
    answer: Callable[[NDArray[np.float32]], NDArray[Any]], samples: NDArray[np.float32], labels: NDArray[np.int64]
) -> MeasuredAccuracy:
    """Count right answers.

    Args:
        answer: `[B, …]` → logits `[B, K]`, by the artefact.
        samples: `[N, …]`.
        labels: `[N]`.
    """
    correct = 0
    for start in range(0, len(labels), _BATCH):
        logits = answer(samples[start : start + _BATCH])
        correct += int((logits.argmax(-1) == labels[start : start + _BATCH]).sum())
    return MeasuredAccuracy(correct=correct, samples=len(labels))
