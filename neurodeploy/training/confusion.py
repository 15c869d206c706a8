"""The confusion matrix of an evaluation as a file: a table of numbers, or a figure."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_file, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_NUMBERS = 20  # classes, up to which each cell says its number


def check_ending(path: Path) -> None:
    """Refuse a file of another form, before an evaluation takes its time.

    Raises:
        UserError: its name ends neither in `.csv` nor in `.png`.
    """
    if path.suffix.lower() not in (".csv", ".png"):
        raise UserError(f"{path}: ends in {path.suffix or 'nothing'}, .csv or .png expected for a confusion matrix")


def write_confusion(path: Path, confusion: NDArray[np.int64], names: Sequence[str]) -> None:
    """Write the matrix; rows are the classes of the samples, columns the answers.

    Args:
        path: of a `.csv` or `.png` file.
        confusion: `[K, K]`, numbers of samples.
        names: of the K classes.

    Raises:
        UserError, Failure: the file cannot be written (see `neurodeploy.io.files.writing`).
    """
    check_ending(path)
    if path.suffix.lower() == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class / answer", *names])
        writer.writerows([name, *row] for name, row in zip(names, confusion.tolist(), strict=True))
        write_text(path, text.getvalue())
        return
    content = io.BytesIO()
    drawn(confusion, names).savefig(content, format="png", dpi=150)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.getvalue())


def drawn(confusion: NDArray[np.int64], names: Sequence[str]) -> "Figure":
    """Shares of each class in shades, and the numbers where there are few classes."""
    from matplotlib.figure import Figure

    classes = len(confusion)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(12.0, 3.0 + 0.4 * classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("answer")
    axes.set_ylabel("class")
    shown = range(classes) if classes <= 2 * _MOST_NUMBERS else range(0, classes, classes // _MOST_NUMBERS)
    axes.set_xticks(list(shown), [names[k] for k in shown], rotation=90, parse_math=False)
    axes.set_yticks(list(shown), [names[k] for k in shown], parse_math=False)
    if classes <= _MOST_NUMBERS:
        for row, column in zip(*confusion.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{confusion[row, column]:,}", ha="center", va="center", fontsize=8, color=colour)
    return figure
