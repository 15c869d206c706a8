"""Torch modules of the user's own code, by `package.module:name`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import callable_named, imported, is_reference, told


def module_named(
    reference: str,
    *,
    what: str,
    arguments: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    anything: bool = False,
) -> nn.Module:
    """The module that a name stands for, or that a function or class of that name makes.

    Args:
        reference: `package.module:name`; importing it runs the user's own code.
        what: it stands for, such as "teacher", for messages.
        arguments: by keyword, for the function or class.
        folder: where to look first.
        anything: a person has just given the reference: functions of installed packages are called too, which those that a
            recipe or checkpoint names are not.

    Raises:
        UserError: there is no such name, it makes no torch module, takes other arguments, or must not be called.
    """
    if anything:
        found = imported(reference, what=what, folder=folder)
    else:
        found = callable_named(reference, what=what, kind=nn.Module, folder=folder)
    if isinstance(found, nn.Module):
        if arguments:
            raise UserError(f"{what} {reference!r}: a module already, which takes no arguments; name a function or class")
        return found
    if not callable(found):
        raise UserError(
            f"{what} {reference!r}: {type(found).__name__} found, a torch module or a function that makes one expected"
        )
    try:
        made = found(**(arguments or {}))
    except Exception as error:  # the user's own code may raise anything
        how = "with these arguments" if arguments else "without arguments"
        raise UserError(f"{what} {reference!r}: makes no model when called {how}: {told(error)}") from None
    if not isinstance(made, nn.Module):
        raise UserError(f"{what} {reference!r}: makes a {type(made).__name__}, a torch module expected")
    return made


def reference_of(module: nn.Module) -> str | None:
    """`package.module:Class` of a module that can be made again without arguments; None of one that cannot.

    What a script of its own defines (`__main__`), or a function, cannot be imported.
    """
    kind = type(module)
    reference = f"{kind.__module__}:{kind.__qualname__}"
    if kind.__module__ in ("__main__", "builtins") or not is_reference(reference) or kind.__module__.startswith("torch."):
        return None
    try:
        made = module_named(reference, what="module")
    except UserError:
        return None
    return reference if is_like(made, module) else None


def is_like(module: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have weights of the same names and shapes."""
    shapes, others = ({name: value.shape for name, value in one.state_dict().items()} for one in (module, other))
    return shapes == others
