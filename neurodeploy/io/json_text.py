"""JSON for files and terminals: letters as they are, everything that a terminal could take for a command spelled out."""

import json
from typing import Any


def json_text(content: Any, indent: int | None = 2) -> str:
    """JSON with a line break at its end.

    Control characters, marks that turn the direction of a text round and halves of characters are written as escapes, which a
    parser reads back as they were.

    Args:
        content: dictionaries, lists, texts and numbers.
        indent: of a nested line; None: all on one line.
    """
    close = (",", ":") if indent is None else None
    return escaped(json.dumps(content, indent=indent, separators=close, ensure_ascii=False), "utf-8") + "\n"


def escaped(text: str, encoding: str) -> str:
    """JSON whose characters are all printable, and known to an encoding: the others are escapes."""
    return "".join(c if c == "\n" or (c.isprintable() and _is_known(c, encoding)) else json.dumps(c)[1:-1] for c in text)


def _is_known(character: str, encoding: str) -> bool:
    if character.isascii():
        return True
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
