"""Values in an artefact that can be damaged one by one, for those who measure whether that is seen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, eq=False)
class Values:
    """The values of one kind of a layer in a file.

    Attributes:
        layer: its name.
        kind: "weight", "bias", "threshold" or "decay".
        count: how many there are.
        change: changes the value of a number by the smallest step that the format knows, in the file at a path.
    """

    layer: str
    kind: str
    count: int
    change: Callable[[Path, int], None]
