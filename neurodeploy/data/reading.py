"""Reading files of a data set that may be missing, damaged or far too large."""

import gzip
import zlib
from pathlib import Path

from neurodeploy.errors import UserError


def read_file(path: Path, *, at_most: int) -> bytes:
    """The whole content of a file; of what it unpacks to, if its name ends in `.gz`.

    Args:
        path: a plain file or a gzip file.
        at_most: bytes (unpacked) that are accepted.

    Raises:
        UserError: the file is missing, cannot be read, is damaged, empty or too large.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content: bytes = file.read(at_most + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; put the official file there") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); remove it and fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); a readable file expected") from None
    if not content:
        raise UserError(f"{path}: empty; remove it and fetch the official file again")
    if len(content) > at_most:
        raise UserError(f"{path}: more than {at_most:,} bytes found, at most that many expected; is it another file?")
    return content


def read_lines(path: Path, *, at_most: int = 1 << 24) -> list[str]:
    """The lines of a text file that are not blank, without blanks around them.

    Raises:
        UserError: as `read_file`; or the file is no UTF-8 text.
    """
    try:
        text = read_file(path, at_most=at_most).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: no UTF-8 text found; put the official file there") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
