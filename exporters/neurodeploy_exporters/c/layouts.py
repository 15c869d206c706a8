"""Where boards expect the files: as they are with a Makefile, as a PlatformIO project, or as an Arduino sketch."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.writing import source

Layout: TypeAlias = Literal["make", "platformio", "arduino"]
_HOST = ("host.c", "mps2.c", "mps2.ld", "Makefile")
_SKETCH_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}$")


def laid_out(files: Mapping[str, str], layout: Layout, folder: Path) -> dict[str, str]:
    """The files of a bundle in a layout; all stay side by side, so that one folder is project and bundle in one.

    Args:
        files: name → text, with the self-test's.
        layout: "make" keeps them as they are.
        folder: of the bundle, whose name an Arduino sketch has.

    Raises:
        UserError: the folder's name is none of a sketch.
    """
    if layout == "make":
        return dict(files)
    if layout == "platformio":
        return {**files, "platformio.ini": source("platformio.ini"), "board.cpp": source("board.cpp")}
    if not _SKETCH_NAME.match(folder.name):
        raise UserError(
            f"{folder}: an Arduino sketch has the name of its folder; letters, digits, '_', '-' and '.' expected there"
        )
    kept = {name: text for name, text in files.items() if name not in _HOST}
    # the Arduino builder takes no flags: the header that every file includes asks for the trace of the self-test
    kept["support.h"] = files["support.h"].replace("#include <stdint.h>\n", '#include <stdint.h>\n\n#include "trace.h"\n', 1)
    return {**kept, f"{folder.name}.ino": source("board.cpp")}
