"""Prints the lower bound of every dependency in pyproject.toml as an exact version, one a line: constraints for pip.

    python -m checks.lowest > lowest.txt
    python -m pip install --constraint lowest.txt --editable ".[onnx]"

What those packages need in turn is left to pip: this is the oldest environment that pyproject.toml promises to work in.
The script runs before anything is installed, with the standard library alone.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w, -]+\])?>=(?P<bound>[\w.]+)(?P<marker>\s*;.*)?")


def requirements(project: Path = PROJECT) -> Iterator[str]:
    """Every dependency, of the package itself and of all its extras."""
    table = tomllib.loads(project.read_text("utf-8"))["project"]
    yield from table["dependencies"]
    for extra in table["optional-dependencies"].values():
        yield from extra


def lowest(requirements: Iterable[str]) -> list[str]:
    """`name>=bound` → `name==bound`, sorted, each once.

    Raises:
        ValueError: a dependency without a lower bound, or with more than that, or two bounds for one package.
    """
    bounds: dict[str, str] = {}
    for requirement in requirements:
        parts = _REQUIREMENT.fullmatch(requirement)
        if parts is None:
            raise ValueError(f"{requirement!r}: `name>=version` expected")
        line = f"{parts['name']}=={parts['bound']}{parts['marker'] or ''}"
        if bounds.setdefault(parts["name"].lower(), line) != line:
            raise ValueError(f"{parts['name']}: one lower bound expected, {bounds[parts['name'].lower()]} and {line} found")
    return [bounds[name] for name in sorted(bounds)]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lowest(requirements()))
