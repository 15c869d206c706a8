"""Settings of several kinds behind one type: `kind` in a recipe chooses the class. Importing a kind's file registers it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Union

from pydantic import BaseModel, Field, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema


@dataclass(frozen=True)
class ByKind:
    """`Annotated[Base, ByKind()]`: one of the kinds of `Base`.

    A kind is a subclass with a `kind` of its own, from the package of `Base`, that is imported before a model first uses it.

    Attributes:
        default: the kind of a table that names none; None if every table must name one. The path of a fault then leaves out
            the kind, which the table may not have named.
    """

    default: str | None = None

    def __get_pydantic_core_schema__(self, base: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        package = base.__module__.rpartition(".")[0]
        subclasses = [kind for kind in _below(base) if kind.__module__.startswith(f"{package}.")]
        kinds = {kind.model_fields["kind"].default: kind for kind in subclasses}
        classes = tuple(kinds[name] for name in sorted(kinds))
        one_of = handler.generate_schema(Annotated[Union[classes], Field(discriminator="kind")])  # noqa: UP007 - any number
        if self.default is None:
            return one_of
        return core_schema.no_info_wrap_validator_function(partial(_chosen, kinds, self.default), one_of)


def _chosen(kinds: dict[str, type[BaseModel]], default: str, content: Any, any_kind: Callable[[Any], Any]) -> Any:
    """The settings in a table."""
    if not isinstance(content, dict):
        return any_kind(content)
    kind = content.get("kind", default)
    if kind not in kinds:
        known = ", ".join(map(repr, sorted(kinds)))
        wrong = PydanticCustomError("kind", "one of {known} expected", {"known": known})
        raise ValidationError.from_exception_data("kind", [InitErrorDetails(type=wrong, loc=("kind",), input=kind)])
    for name in sorted(content.keys() - kinds[kind].model_fields.keys()):
        owners = [f'"{other}"' for other in sorted(kinds) if name in kinds[other].model_fields]
        if owners and content[name] is not None:
            raise ValueError(f"{name} belongs to kind = {' and '.join(owners)}, {kind!r} found")
    return kinds[kind].model_validate({**content, "kind": kind})


def _below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for subclass in base.__subclasses__():
        if "kind" in subclass.__annotations__:
            yield subclass
        yield from _below(subclass)
