"""The user's own code: what `package.module:name` means, and what installed packages offer as entry points."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import cache, partial
from importlib import import_module, invalidate_caches
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from neurodeploy.io.errors import UserError, printable

_FOLDERS: ContextVar[tuple[Path, ...]] = ContextVar("folders", default=())


@contextmanager
def looking_in(*folders: Path) -> Iterator[None]:
    """Inside, modules in these folders can be imported by `imported`: those beside a recipe, or beside a checkpoint."""
    token = _FOLDERS.set((*folders, *_FOLDERS.get()))
    try:
        yield
    finally:
        _FOLDERS.reset(token)


def found_beside(path: Path) -> Path:
    """A relative path → that in the folders of `looking_in`, if it is in one of them; others as they are."""
    places = () if path.is_absolute() else (folder / path for folder in _FOLDERS.get())
    return next((place.resolve() for place in places if place.exists()), path)


def is_reference(text: object) -> bool:
    """Whether it has the form `package.module:name`, or `module:Class.attribute`."""
    if not isinstance(text, str):
        return False
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def imported(reference: str, *, what: str, folder: Path | None = None) -> Any:
    """The object that `package.module:name` names; importing its module runs the user's own code.

    Modules are looked for in `folder`, the folders of `looking_in`, the current folder, and among the installed packages
    (`sys.path`). `sys.path` is unchanged afterwards: a module imports its neighbours at its top, not inside its functions.

    Args:
        reference: `package.module:name`; the name may have dots, as in `module:Class.make`.
        what: the reference stands for, such as "network", for messages.
        folder: where to look first.

    Raises:
        UserError: there is no such module or name, its import fails, or another file's module of that name is imported already.
    """
    if not is_reference(reference):
        raise UserError(f"{what} {reference!r}: no import path; package.module:name expected")
    path, _, name = reference.partition(":")
    here = (*([] if folder is None else [folder]), *_FOLDERS.get(), Path.cwd())
    found: Any = _module(path, tuple(dict.fromkeys(one.resolve() for one in here)), f"{what} {reference!r}")
    where = path
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = get_close_matches(part, [one for one in dir(found) if not one.startswith("_")], n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            what_it_is = f"module {where}" if isinstance(found, ModuleType) else where
            raise UserError(f"{what} {reference!r}: {what_it_is} has no name {part!r}{hint}") from None
        where = f"{where}.{part}"
    return found


def _module(path: str, folders: tuple[Path, ...], origin: str) -> ModuleType:
    """Import a module, with these folders in front of `sys.path`."""
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    invalidate_caches()  # the file may have been written a moment ago
    try:
        namesake = _namesake(path.partition(".")[0])
        if namesake is None:
            return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise UserError(f"{origin}: cannot be imported: {told(error)}") from None
        places = ", ".join(map(str, folders))
        raise UserError(f"{origin}: no module {error.name!r} in {places}, nor among the installed packages") from None
    except (Exception, SystemExit) as error:  # the user's own code may raise anything, and a script may end the process
        raise UserError(f"{origin}: cannot be imported: {told(error)}") from None
    finally:
        sys.path[:] = before
    raise UserError(f"{origin}: {namesake}; rename one of them, or start a new process")


def _namesake(name: str) -> str | None:
    """What is wrong if a module of that name from somewhere else has been imported before: it must not be taken for it."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is None:
        return None
    spec = PathFinder.find_spec(name)
    if spec is None or spec.origin is None or _same(Path(spec.origin), Path(loaded)):
        return None
    return f"module {name} is {spec.origin}, but {loaded} has been imported under that name"


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, or to copies of it: such as that in a project, and that beside its checkpoints."""
    return one.resolve() == other.resolve() or (
        one.is_file() and other.is_file() and one.name != "__init__.py" and one.read_bytes() == other.read_bytes()
    )


def told(error: BaseException) -> str:
    """An exception of the user's code in one line: its class, its first line, and where it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if isinstance(error, SyntaxError):
        return printable(f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users_file(frame.filename)]
    return printable(f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text)


def is_users(thing: Any) -> bool:
    """Whether a function or class is in a file of the user's.

    A recipe or checkpoint may be a stranger's. It names what is called, with arguments: that must be nothing of Python or of an
    installed package, such as `subprocess.getoutput`, whatever module of the user's has imported it.
    """
    while isinstance(thing, partial):
        thing = thing.func
    module = getattr(thing, "__module__", None)
    code = getattr(sys.modules.get(module or ""), "__file__", None)
    return module == "__main__" or (code is not None and is_users_file(code))


def callable_named(reference: str, *, what: str, kind: type, folder: Path | None = None) -> Any:
    """What `package.module:name` names, as `imported`, if a recipe or checkpoint may call it.

    Args:
        reference, what, folder: see `imported`.
        kind: what it makes; classes that derive from it may be of an installed package.

    Raises:
        UserError: see `imported`; or it is a function or another class of Python or of an installed package.
    """
    found = imported(reference, what=what, folder=folder)
    derived = isinstance(found, type) and issubclass(found, kind)
    if callable(found) and not isinstance(found, kind) and not derived and not is_users(found):
        raise UserError(
            f"{what} {reference!r}: a function or class of an installed package, which a recipe or checkpoint cannot call "
            f"unless it derives from torch's {kind.__name__}; write a function of your own that calls it"
        )
    return found


_OTHERS = (str(Path(os.__file__).parent), str(Path(__file__).parents[1]), "<")


def is_users_file(filename: str) -> bool:
    """Whether a frame is in the user's own file: not in Python, an installed package or this one."""
    return not filename.startswith(_OTHERS) and not {"site-packages", "dist-packages"} & {*Path(filename).parts}


@cache
def _installed(group: str, path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001 - what is installed follows from it
    return entry_points(group=group)


def installed(group: str) -> EntryPoints:
    """The entry points of a group; asked for once, since the metadata of every package are read for it."""
    return _installed(group, tuple(sys.path))
