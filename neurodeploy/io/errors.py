"""The two ways in which work can end badly, and a warning, as the command line reports them; foreign text in messages."""

import re
from collections.abc import Iterable

_LONG_WORD = re.compile(r"(\S{160})\S{200,}(\S{40})")


class _Told(Exception):
    """Whatever it quotes of a file is printable, and no word of thousands of characters."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(_LONG_WORD.sub(r"\1…\2", printable(one)) if isinstance(one, str) else one for one in said))


class UserError(_Told, ValueError):
    """Bad input: the message names the file, layer or field, what was found, what was expected and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class Failure(_Told, RuntimeError):
    """The input was good, but the result is not: a verification that found differences, a device that is missing.

    The command line prints the message without a traceback and exits with code 1.
    """


class Notice(UserWarning):
    """The work goes on, and its user should know something of it: which data stood in for others, what will hardly succeed.

    The command line prints it on standard error, in one line and without the place in the code.
    """


def printable(text: str) -> str:
    """Text of unknown origin with its control characters spelled out, so that none of them reaches a terminal as a command."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def spelled(text: str) -> str:
    """The same with line breaks spelled out too: a name with one cannot end a message and begin another."""
    return printable(text).replace("\n", "\\n")


def one_line(text: str) -> str:
    """The same on one line, as a field of a table: runs of spaces, tabs and line breaks are one space."""
    return printable(" ".join(text.split()))


_LONGEST_FIELD = 200


def field_name(path: Iterable[object]) -> str:
    """Where in a document a field is, as `section.key.0`; its names are the file's: of bounded length and printable."""
    name = one_line(".".join(map(str, path)))
    return name if len(name) <= _LONGEST_FIELD else f"{name[:_LONGEST_FIELD]}…"
