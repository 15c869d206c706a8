"""Commands that read and run files of others do so in a process of its own: see `neurodeploy.io.cage`."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from neurodeploy.app.origins import is_chip_file, is_nir, is_onnx_file
from neurodeploy.io.cage import CageLimits, chosen_limits, is_wanted, run_caged

COMMANDS = ("verify", "energy", "evaluate", "nir", "simulate", "map")
"""Commands that run what is in a file, or read it whole."""
_MANIFEST = "manifest.json"
_OUTPUTS = ("--output", "-o", "--to")
_OWN_FOLDERS = ("~/.cache/matplotlib", "~/.config/matplotlib")
"""Where libraries of ours keep what takes long to make."""


def run_in_cage(arguments: Sequence[str]) -> int | None:
    """Run a command line in a cage if it reads files of others.

    Returns:
        Its exit code; None if it is to be run here.

    Raises:
        UserError, Failure: see `run_caged`.
    """
    command = next((one for one in arguments if not one.startswith("-")), None)
    if command not in COMMANDS or not is_wanted() or "-h" in arguments or "--help" in arguments:
        return None
    values = [one.partition("=")[2] if one.startswith("--") and "=" in one else one for one in arguments]
    artefacts = [one for one in values if _is_artefact(one)]
    if not artefacts:
        return None
    own_data = any(one == "--data" or one.startswith("--data=") for one in arguments)
    writable = [*_output_folders(arguments), *_own_folders()]
    if own_data:  # which may have to be fetched first
        writable.append(_existing(Path(os.environ.get("NEURODEPLOY_DATA") or "~/.cache/neurodeploy").expanduser()))
    limits = CageLimits(writable=tuple(one for one in writable if Path(one).is_dir()), network=own_data)
    return run_caged(["neurodeploy", *arguments], chosen_limits(limits), origin=artefacts[0])


def _is_artefact(text: str) -> bool:
    try:
        path = Path(text)
        ours = is_onnx_file(text) or is_nir(text) or is_chip_file(text)
        return (ours and path.exists()) or (path / _MANIFEST).exists() or path.name == _MANIFEST
    except (OSError, ValueError):  # a text that is no path
        return False


def _own_folders() -> list[str]:
    with suppress(RuntimeError):  # there is no home
        return [str(Path(one).expanduser()) for one in _OWN_FOLDERS]
    return []


def _output_folders(arguments: Sequence[str]) -> list[str]:
    found = []
    for number, one in enumerate(arguments):
        name, equals, value = one.partition("=")
        if name in _OUTPUTS and not equals and number + 1 < len(arguments):
            value = arguments[number + 1]
        elif name not in _OUTPUTS and not (one.startswith("-o") and not one.startswith("--")):
            continue
        elif name not in _OUTPUTS:
            value = one[2:]
        found.append(_existing(Path(value).absolute().parent))
    return found


def _existing(path: Path) -> str:
    """The folder, or the nearest one around it that exists."""
    return str(next(one for one in (path, *path.parents) if one.is_dir()))
