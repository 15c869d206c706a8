"""Markdown tables."""

import re
from collections.abc import Iterable, Sequence

_CODE_OR_BAR = re.compile(r"`[^`]*`|\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells may hold lines and `|`."""
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_CODE_OR_BAR.sub(_escaped, ' '.join(cell.split())) for cell in cells)} |"


def _escaped(found: re.Match[str]) -> str:
    return r"\|" if found[0] == "|" else found[0]  # in code a backslash would be seen
