"""Events of a vision sensor as frames: one per time bin, with a channel per polarity."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Values = Literal["spikes", "counts"]


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
    place = ((step * 2 + events.polarity[kept]) * height + events.y[kept]) * width + events.x[kept]
    return np.bincount(place, minlength=bins * 2 * height * width).reshape(bins, 2, height, width)
