"""Settings of several kinds behind one type: `kind` in a recipe chooses the class. Importing a kind's file registers it."""

from collections.abc import Iterator
from typing import Annotated, Any, Union

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class ByKind:
    """`Annotated[Base, ByKind()]`: one of the kinds of `Base`.

    A kind is a subclass with a `kind` of its own, from the package of `Base`, that is imported before a model first uses it.
    """

    def __get_pydantic_core_schema__(self, base: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        package = base.__module__.rpartition(".")[0]
        kinds = {one.model_fields["kind"].default: one for one in _below(base) if one.__module__.startswith(f"{package}.")}
        classes = tuple(kinds[name] for name in sorted(kinds))
        return handler.generate_schema(Annotated[Union[classes], Field(discriminator="kind")])  # noqa: UP007 - any number


def _below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in base.__subclasses__():
        if "kind" in one.__annotations__:
            yield one
        yield from _below(one)
