"""Settings of several kinds behind one type: `kind` in a recipe chooses the class, one of ours or one of the user's.

There is one table of kinds, and every class comes into it by being defined: a subclass of the base with a `kind` of its own,
once its module is imported. A kind may also be named by its import path, or by an entry point of an installed package.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import isabstract
from typing import Annotated, Any, Literal, TypeVar, Union, get_args

from pydantic import BaseModel, Field, GetCoreSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import imported, installed, is_reference

Settings = type[BaseModel]
Base = TypeVar("Base", bound=BaseModel)


@dataclass(frozen=True)
class ByKind:
    """`Annotated[Base, ByKind(…)]`: settings of one of the kinds of `Base`, which may be a union of base classes.

    What is stored of them says where they come from: a class of this package by its kind, any other by its import path.

    Attributes:
        what: a kind is of, such as "network", for messages.
        group: of entry points, name → class.
        default: the kind of a table that names none; None if every table must name one.
        call: makes settings of the kind of a plain function or class of the user's, or raises a UserError that says what is
            wrong with it. None: only classes derived from the base are kinds.
        short: a text stands for a table that says nothing but its kind.
    """

    what: str
    group: str
    default: str | None = None
    call: Callable[[str, Callable[..., Any]], Settings] | None = None
    short: bool = False

    def __get_pydantic_core_schema__(self, base: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        bases: tuple[Settings, ...] = get_args(base) or (base,)
        own = {name: kind for name, kind in _defined(bases) if _is_own(kind)}
        classes = tuple(own[name] for name in sorted(own))
        # the union is what a JSON schema says; which kinds there are shows only when a table is read
        documented = handler.generate_schema(Annotated[Union[classes], Field(discriminator="kind")])  # noqa: UP007
        if self.short:
            documented = core_schema.union_schema([documented, core_schema.str_schema()])
        return core_schema.no_info_wrap_validator_function(
            lambda content, _documented: self._read(bases, content),
            documented,
            serialization=core_schema.wrap_serializer_function_ser_schema(self._stored, schema=core_schema.any_schema()),
        )

    def _read(self, bases: tuple[Settings, ...], content: Any) -> BaseModel:
        """The settings in a table."""
        if isinstance(content, bases):
            return content
        if self.short and isinstance(content, str):
            content = {"kind": content}
        if not isinstance(content, Mapping):
            raise PydanticCustomError("table", "a table with a kind expected")
        if "kind" not in content and self.default is None:
            raise _at_kind("missing", "Field required", content)
        kind = content.get("kind", self.default)
        settings = self._named(bases, kind)
        if self.default is not None:
            _refuse_others(settings, kind, dict(_defined(bases)), content)
        try:
            return settings.model_validate({**content, "kind": settings.model_fields["kind"].default})
        except ValidationError as error:
            raise error if self.default is not None else _under(kind, error) from None

    def _named(self, bases: tuple[Settings, ...], kind: Any) -> Settings:
        """The class of a kind."""
        if is_reference(kind):
            return self._accepted(bases, kind, imported(kind, what=self.what))
        defined = [settings for name, settings in _defined(bases) if name == kind]
        if len(defined) > 1:
            paths = " and ".join(f"{one.__module__}:{one.__qualname__}" for one in defined)
            raise UserError(f"{self.what} {kind!r}: the kind of {paths}; say which by its import path, or rename yours")
        if defined:
            return defined[0]
        points = installed(self.group)
        for point in points.select(name=kind) if isinstance(kind, str) else ():
            return self._accepted(bases, kind, imported(point.value, what=f"{self.what} {kind!r} of an installed package:"))
        known = ", ".join(map(repr, sorted({*points.names, *(name for name, _ in _defined(bases))})))
        raise _at_kind("kind", f"one of {known} expected, or the import path of your own, such as 'my_module:Name'", kind)

    def _accepted(self, bases: tuple[Settings, ...], kind: str, given: Any) -> Settings:
        """What an import path or an entry point leads to, as settings."""
        names = " or ".join(f"{base.__module__}.{base.__qualname__}" for base in bases)
        if isinstance(given, type) and issubclass(given, bases):
            if given in bases or isabstract(given):
                missing = ", ".join(sorted(getattr(given, "__abstractmethods__", ()))) or "kind"
                raise UserError(f"{self.what} {kind!r}: {given.__qualname__} is abstract: it has no {missing}")
            return _with_kind(given, kind)
        settings = isinstance(given, type) and issubclass(given, BaseModel)
        if self.call is None or settings or not callable(given):
            wanted = f"a class derived from {names}" + ("" if self.call is None else ", or a function,")
            raise UserError(f"{self.what} {kind!r}: {_described(given)} found, {wanted} expected")
        return self.call(kind, given)

    def _stored(self, value: Any, inner: Callable[[Any], Any]) -> Any:
        """Settings as they are written into a recipe."""
        content = inner(value)
        if isinstance(content, dict):
            content = {"kind": kind_of(value)} | {name: one for name, one in content.items() if name != "kind"}
            if self.short and len(value.model_fields_set - {"kind"}) == 0:
                return content["kind"]
        return content


def is_foreign(settings: BaseModel) -> bool:
    """Whether they are of a class, or of a function, that is not this package's."""
    return not _is_own(type(settings))


def kind_of(settings: BaseModel) -> str:
    """What a recipe says for these settings: the kind of a class of this package, the import path of any other."""
    made, kind = type(settings), getattr(settings, "kind", None)
    importable = made.__module__ != "__main__" and "<" not in made.__qualname__
    if isinstance(kind, str) and (_is_own(made) or not importable or made in _MADE):
        return kind
    return f"{made.__module__}:{made.__qualname__}"


_MADE: set[Settings] = set()
"""Classes that were made here of functions, and of classes without a kind; their kind is what they were found by."""


@cache
def _with_kind(settings: Settings, kind: str) -> Settings:
    """A class of settings that has a kind: itself, or a subclass with the kind that it was found by."""
    field = settings.model_fields.get("kind")
    if field is not None and isinstance(field.default, str):
        return settings
    return made(settings, kind, settings.__name__, settings.__module__)


def made(base: type[Base], kind: str, name: str, module: str, **fields: Any) -> type[Base]:
    """A subclass of settings for a kind of the user's.

    Args:
        base: has no kind of its own.
        kind: an import path, or the name of an entry point.
        name, module: of the new class.
        fields: name → (type, default).
    """
    own_kind: Any = (Literal[kind], kind)
    subclass = create_model(name, __base__=base, __module__=module, kind=own_kind, **fields)
    _MADE.add(subclass)
    return subclass


def _defined(bases: tuple[Settings, ...]) -> Iterator[tuple[str, Settings]]:
    """Kind and class of every subclass that has a kind and was not replaced by a later one of its name."""
    for base in bases:
        for subclass in _below(base):
            kind = subclass.model_fields["kind"].default
            if isinstance(kind, str) and subclass not in _MADE and _is_current(subclass):
                yield kind, subclass


def _below(base: Settings) -> Iterator[Settings]:
    for subclass in base.__subclasses__():
        if "kind" in subclass.__annotations__:
            yield subclass
        yield from _below(subclass)


def _is_own(settings: Settings) -> bool:
    return settings.__module__.partition(".")[0] == __name__.partition(".")[0]


def _is_current(settings: Settings) -> bool:
    """False for a class whose module was imported anew, or whose notebook cell was run again: the new class counts."""
    if "<" in settings.__qualname__:
        return True
    found: Any = sys.modules.get(settings.__module__)
    for part in settings.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is settings


def _refuse_others(settings: Settings, kind: str, kinds: Mapping[str, Settings], content: Mapping[str, Any]) -> None:
    """Name the kind that a setting belongs to; the table may have named none."""
    for name in sorted(content.keys() - settings.model_fields.keys()):
        owners = [f'"{other}"' for other in sorted(kinds) if name in kinds[other].model_fields]
        if owners and content[name] is not None:
            listed = " and ".join(filter(None, (", ".join(owners[:-1]), owners[-1])))
            raise ValueError(f"{name} belongs to kind = {listed}, {kind!r} found")


def _at_kind(fault: str, message: str, found: Any) -> ValidationError:
    wrong = PydanticCustomError(fault, "{message}", {"message": message})
    return ValidationError.from_exception_data("kind", [InitErrorDetails(type=wrong, loc=("kind",), input=found)])


def _under(kind: str, error: ValidationError) -> ValidationError:
    """The faults of a table that names its kind: their paths say it."""
    faults = [
        InitErrorDetails(
            type=PydanticCustomError(fault["type"], "{message}", {"message": fault["msg"]}),
            loc=(kind, *fault["loc"]),
            input=fault["input"],
        )
        for fault in error.errors(include_url=False)
    ]
    return ValidationError.from_exception_data(kind, faults)


def _described(given: Any) -> str:
    if isinstance(given, type):
        return f"class {given.__qualname__}({', '.join(base.__qualname__ for base in given.__bases__)})"
    return f"{given.__module__}.{given.__qualname__}" if hasattr(given, "__qualname__") else type(given).__name__
