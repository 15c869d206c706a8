"""Settings of a plain function or class of the user's: what a recipe may say are its parameters."""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError

from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import is_reference, is_users, told
from neurodeploy.io.kinds import made

_WRITABLE = (bool, int, float, str, list, tuple, dict)
"""What a recipe can say; a parameter whose default is something else is none of the settings."""


class OfFunction(BaseModel):
    """Mixed into the settings of one kind: they are the parameters of a function.

    Attributes:
        function: of the user's.
        what: it is called for, for messages.
        takes: those arguments of ours that it has parameters for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    function: ClassVar[Callable[..., Any]]
    what: ClassVar[str]
    takes: ClassVar[frozenset[str]]

    def called(self, /, **ours: Any) -> Any:
        """What the function returns.

        Args:
            ours: arguments; those that it has no parameter for are left out.

        Raises:
            UserError: it raises something.
        """
        own = {name: getattr(self, name) for name in type(self).model_fields if name in _parameters(type(self).function)}
        try:
            return type(self).function(**own, **{name: value for name, value in ours.items() if name in self.takes})
        except UserError:
            raise
        except Exception as error:  # the user's own code may raise anything
            raise UserError(f"{self.what}: {told(error)}") from error


@cache
def settings_of(
    base: type[OfFunction], kind: str, function: Callable[..., Any], *, what: str, ours: tuple[str, ...]
) -> type[OfFunction]:
    """A class of settings with the parameters of a function, which are given by name.

    Args:
        base: of the settings; its own fields stay.
        kind: an import path, or the name of an entry point.
        function: or a class.
        what: it is for, such as "data set".
        ours: parameters that it need not have, and that no recipe sets.

    Raises:
        UserError: it is code of Python or of an installed package, whose functions a recipe must not be able to call; or a
            parameter cannot be a setting.
    """
    origin = f"{what} {kind!r}"
    if is_reference(kind) and not is_users(function):
        raise UserError(
            f"{origin}: a function of an installed package, which a recipe cannot call; call it in a function of your own, or "
            "derive a class"
        )
    parameters = _parameters(function)
    types = _types(function, origin)
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in ours or (name in base.model_fields and name != "kind"):
            continue
        taken = name == "kind" or hasattr(base, name) or name in base.__class_vars__
        if taken or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UserError(f"{origin}: its parameter {name} cannot be a setting; give it another name, and no / after it")
        required = parameter.default is inspect.Parameter.empty
        if required or parameter.default is None or isinstance(parameter.default, _WRITABLE):
            fields[name] = (types.get(name, Any), ... if required else parameter.default)
    try:
        subclass = made(base, kind, getattr(function, "__name__", "Function"), function.__module__, **fields)
    except PydanticSchemaGenerationError as error:
        raise UserError(f"{origin}: its parameters cannot be settings: {str(error).splitlines()[0]}") from None
    subclass.function, subclass.what = staticmethod(function), origin
    subclass.takes = frozenset(name for name in ours if name in parameters)
    return subclass


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    return {name: parameter for name, parameter in parameters.items() if parameter.kind not in several}


def _types(function: Callable[..., Any], origin: str) -> dict[str, Any]:
    """Parameter → annotation."""
    annotated: Any = getattr(function, "__init__") if isinstance(function, type) else function  # noqa: B009 - for mypy
    try:
        return typing.get_type_hints(annotated, include_extras=True)
    except Exception as error:  # an annotation may be any text
        raise UserError(f"{origin}: its annotations cannot be read: {told(error)}") from None
