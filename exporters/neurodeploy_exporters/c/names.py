"""Foreign names and numbers as C text."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COLUMNS = 120


class CNames:
    """C names of nodes: `n3_conv1`, its number among the nodes and what C takes of its name.

    Args:
        nodes: their names, in order.
    """

    def __init__(self, nodes: Iterable[str]) -> None:
        self._known = {name: f"n{number}_{_plain(name)}" for number, name in enumerate(nodes)}

    def __getitem__(self, name: str) -> str:
        return self._known[name]

    def crossing(self, name: str) -> str:
        """The buffer of a node's values on their way to the head, where they are kept elsewhere too; also a C name."""
        buffer = f"{name}~crossing"
        self._known[buffer] = f"{self._known[name]}_crossing"
        return buffer


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)[:24].strip("_") or "node"


def comment(text: str) -> str:
    """Text that stays within its comment, whatever a network's names hold."""
    plain = "".join(letter if " " <= letter <= "~" else ascii(letter)[1:-1] for letter in text)
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("\\", "/")


def literal(value: float) -> str:
    """A float32 exactly, in C's hexadecimal notation."""
    text = float(np.float32(value)).hex()
    return f"{text}f" if not text.startswith("-") else f"({text}f)"


def number(value: Any) -> str:
    if isinstance(value, np.floating | float):
        return literal(float(value))
    return str(int(value))


def rows(values: NDArray[Any]) -> str:
    """The elements of a table, in lines."""
    lines, line = [], "   "
    for value in values.reshape(-1).tolist():
        text = literal(value) if isinstance(value, float) else str(value)
        if len(line) + len(text) + 2 > _COLUMNS:
            lines.append(line)
            line = "   "
        line += f" {text},"
    return "\n".join([*lines, line])
