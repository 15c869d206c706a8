"""Files that others wrote: plain ones alone, so that no pipe, device or socket is waited for, and none beyond a size."""

import os
import stat
import tomllib
from pathlib import Path
from typing import IO, Any

from neurodeploy.io.errors import UserError

_LARGEST_TEXT, _PIECE = 1 << 28, 1 << 20
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def check_file(path: Path, expected: str, *, at_most: int | None = None) -> int:
    """Refuse what is no plain file, before it is opened: to open a pipe is to wait for its writer.

    Args:
        path: of the file; links are followed.
        expected: what it should be, such as "an ONNX model".
        at_most: bytes.

    Returns:
        Its size in bytes.

    Raises:
        UserError: it is missing, no plain file, or larger.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, {expected} expected") from None
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason}), {expected} expected") from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no plain file")
        raise UserError(f"{path}: not a file, {expected} expected ({kind} found)")
    if at_most is not None and status.st_size > at_most:
        raise UserError(f"{path}: {status.st_size:,} bytes found, {expected} of at most {at_most:,} expected")
    return status.st_size


def read_bounded(file: IO[bytes], at_most: int) -> bytes:
    """What is left of a file, or one byte more than `at_most` if that is less; one call would take memory for the latter."""
    pieces, missing = [], at_most + 1
    while missing and (piece := file.read(min(missing, _PIECE))):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def contents(path: Path, expected: str, *, at_most: int = _LARGEST_TEXT) -> bytes:
    """The bytes of a plain file; see `check_file`.

    Raises:
        UserError: as there, or it may not be read.
    """
    check_file(path, expected, at_most=at_most)
    try:
        # between the look and the opening another may have put a pipe there: that one is not waited for either
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
            return read_bounded(file, at_most)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), {expected} expected") from None


def text_of(path: Path, expected: str, *, at_most: int = _LARGEST_TEXT) -> str:
    """The text of a plain file in UTF-8.

    Raises:
        UserError: as `contents`, or it is no such text.
    """
    try:
        return contents(path, expected, at_most=at_most).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: no UTF-8 text found, {expected} expected") from None


def toml_tables(text: str, origin: str) -> dict[str, Any]:
    """The tables of TOML text; `origin` is what the error names.

    Raises:
        UserError: it is no TOML, or nested deeper than anything that people write.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:  # a whole number of thousands of digits is a plain ValueError
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{origin}: not valid TOML: {reason}") from None
