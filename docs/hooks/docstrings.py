"""Docstrings as the documentation reads them: `a, b: meaning` is an entry for each name, which the parser does not know."""

import re
from collections.abc import Iterator
from typing import Any

from griffe import Docstring, DocstringSectionAttributes, DocstringSectionText, Extension, Object

_SECTION = re.compile(r"^ *(Args|Attributes):$")
_SEVERAL = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<meaning>.*)$")


class OneNameEach(Extension):
    """Prepares every docstring of the Python reference."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = one_name_each(obj.docstring.value)


def one_name_each(docstring: str) -> str:
    """The same docstring with an entry for each argument and attribute."""
    lines, found, section = docstring.splitlines(), list[str](), False
    for number, line in enumerate(lines):
        if _SECTION.match(line):
            section = True
        elif line and not line.startswith(" "):
            section = False
        several = _SEVERAL.match(line) if section else None
        if several is None:
            found.append(line)
            continue
        indent, *names = several["indent"], *several["names"].split(", ")
        further = list(_continued(lines[number + 1 :], len(indent)))
        for name in names[:-1]:
            found += [f"{indent}{name}: {several['meaning']}", *further]
        found.append(f"{indent}{names[-1]}: {several['meaning']}")  # whose further lines follow
    return "\n".join(found)


def _continued(lines: list[str], indent: int) -> Iterator[str]:
    for line in lines:
        if not line.startswith(" " * (indent + 1)):
            return
        yield line


def parsed(docstring: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and attribute → meaning."""
    texts, meanings = [], {}
    for section in Docstring(one_name_each(docstring)).parse("google", warnings=False):
        if isinstance(section, DocstringSectionText):
            texts.append(section.value)
        elif isinstance(section, DocstringSectionAttributes):
            meanings |= {attribute.name: attribute.description for attribute in section.value}
    return "\n\n".join(texts), meanings
