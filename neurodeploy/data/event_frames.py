"""Events of a vision sensor as frames: one per time bin, with a channel per polarity."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.data.dataset import from_bytes
from neurodeploy.io.errors import UserError

Values = Literal["spikes", "counts"]
"""What a pixel of a frame holds: 1 if at least one event fell there, else 0 ("spikes"); or their number / 256 ("counts")."""


@dataclass(frozen=True)
class Events:
    """A recording.

    Attributes:
        x, y: column and row, integers `[E]`.
        polarity: 0 (darker, OFF) or 1 (brighter, ON), `[E]`.
        time: microseconds from the beginning, `[E]`.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    polarity: NDArray[np.int64]
    time: NDArray[np.int64]


def event_counts(events: Events, bins: int, duration: int, height: int, width: int) -> NDArray[np.int64]:
    """Number of events per time bin, polarity and pixel.

    An event at time t falls into bin `⌊t · bins / duration⌋`; those at `duration` or later are left out.

    Args:
        events: with x below `width` and y below `height`.
        bins: T.
        duration: microseconds that the bins cover together, in equal parts.
        height, width: of the sensor in pixels.

    Returns:
        `[T, 2, height, width]`; channel 0 is OFF, channel 1 ON.
    """
    kept = events.time < duration
    step = events.time[kept] * bins // duration
    cell = ((step * 2 + events.polarity[kept]) * height + events.y[kept]) * width + events.x[kept]
    return np.bincount(cell, minlength=bins * 2 * height * width).reshape(bins, 2, height, width)


def frame_bytes(counts: NDArray[np.int64], values: Values, source: Path) -> NDArray[np.uint8]:
    """Frames as they are kept: 0 and 1 for "spikes", the numbers themselves for "counts".

    Args:
        counts: of `event_counts`.
        values: see `Values`.
        source: what the error names.

    Raises:
        UserError: more than 255 events to count for one pixel.
    """
    if values == "spikes":
        return np.minimum(counts, 1).astype(np.uint8)
    if counts.max() > 255:
        raise UserError(
            f"{source}: {counts.max()} events of one pixel in one bin found, at most 255 expected; use more bins, or spikes"
        )
    return counts.astype(np.uint8)


def frames_of(values: Values) -> Callable[[Tensor], Tensor]:
    """What makes float32 frames of those of `frame_bytes`."""
    return from_bytes if values == "counts" else Tensor.float


def downsampled(events: Events, side: int, size: int) -> Events:
    """The same events on a coarser sensor: pixel x becomes `⌊x · size / side⌋`, and so y. Frames of it are sums of pixels.

    Args:
        events: with x and y below `side`.
        side: of the sensor in pixels.
        size: at most `side`. Where it does not divide `side`, some pixels collect more of the sensor's than others.
    """
    return replace(events, x=events.x * size // side, y=events.y * size // side)


def in_order(events: Events) -> tuple[Events, int]:
    """The same events at their position in the recording instead of their time, and how many there are.

    `event_counts` over that duration gives bins of equally many events (they differ by at most one).
    """
    count = len(events.time)
    return replace(events, time=np.arange(count)), count
