"""The two ways in which work can end badly, as the command line reports them; and text of unknown origin in a message."""


class UserError(ValueError):
    """Bad input: the message names the file, layer or field, what was found, what was expected and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class Failure(RuntimeError):
    """The input was good, but the result is not: a verification that found differences, a device that is missing.

    The command line prints the message without a traceback and exits with code 1.
    """


def printable(text: str) -> str:
    """Text of unknown origin with its control characters spelled out, so that none of them reaches a terminal as a command."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
