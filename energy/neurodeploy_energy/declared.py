"""Dataclasses that files are read into: a field's type says what it may hold, and whoever reads a file has it checked.

pydantic checks, and is imported only when a file is read: counting needs torch and numpy alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import cleandoc
from typing import Annotated, Any, Self

from neurodeploy.io.errors import field_name


@dataclass(frozen=True)
class Bounded:
    """A finite number of at least so much, if it says how much; written into a type by `Annotated`."""

    least: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        schema = dict(handler(source))
        least = {} if self.least is None else {"ge": self.least}
        finite = {"allow_inf_nan": False} if schema["type"] == "float" else {}
        return {**schema, **least, **finite}


Count = Annotated[float, Bounded(0)]
Number = Annotated[float, Bounded()]
Natural = Annotated[int, Bounded(0)]
Positive = Annotated[int, Bounded(1)]


class FaultyField(Exception):
    """The first field of a file that does not hold what it may.

    Attributes:
        path: of the field, `layers.0.sops`; "file" if nothing could be read.
        kind: pydantic's name of the fault.
        reason: in words.
        value: what was there.
        choices: that there are, in quotation marks, where there are some.
    """

    def __init__(self, path: str, kind: str, reason: str, value: object, choices: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.kind, self.reason, self.value, self.choices = path, kind, reason, value, choices


class Declared:
    """Base of a dataclass that is read from a file: every field must be there, and nothing else."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 – not a field

    @classmethod
    def from_json(cls, content: str | bytes, *, strict: bool = False) -> Self:
        """Read one from JSON; `strict`: no text is taken for a number.

        Raises:
            FaultyField: something is missing, unknown, or not what it may be.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(content, strict=strict)
        except ValidationError as error:
            first = error.errors()[0]
            path = field_name(first["loc"]) or "file"
            choices = first.get("ctx", {}).get("expected", "")
            raise FaultyField(path, first["type"], first["msg"], first["input"], choices) from None

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Read one from the values of a TOML file, strictly; what JSON has no word for, such as a date, is of no use here."""
        return cls.from_json(json.dumps(values, default=lambda value: [str(value)]), strict=True)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """What `from_json` takes, in JSON Schema."""
        from pydantic import TypeAdapter

        return TypeAdapter(cls).json_schema()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        schema = handler(source)
        for field in handler.resolve_ref_schema(schema)["schema"]["fields"]:
            if field["schema"]["type"] == "default":  # of Python alone: a file that lacks a field is damaged
                field["schema"] = field["schema"]["schema"]
        return schema

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> Any:
        schema = handler(core)
        handler.resolve_ref_schema(schema)["description"] = cleandoc(cls.__doc__ or "")
        return schema
