"""`<!-- fields of module:Model -->`: the fields of a pydantic model or dataclass, and of its parts, from schema and docstrings.

A model's docstring may say "see `Other`", a class of the same package, whose docstring then explains the fields.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from pydantic import TypeAdapter

from docs.hooks.docstrings import parsed
from docs.hooks.tables import table

_MARKER = re.compile(r"<!-- fields of (?P<module>[\w.]+):(?P<name>\w+)(?P<deep> at level 3)? -->")
_SEE = re.compile(r"[Ss]ee `(\w+)`")
_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "nothing"}
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_LENGTHS = {"minItems": "at least {} of them", "pattern": "pattern `{}`"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with the fields in the places of the markers."""
    return _MARKER.sub(_filled, markdown)


def _filled(marker: re.Match[str]) -> str:
    model = getattr(import_module(marker["module"]), marker["name"])
    return described(model, level=3 if marker["deep"] else 2)


def described(model: type, level: int = 2) -> str:
    """Markdown: a section for the model, and one for each that it is made of.

    Args:
        model: described first.
        level: of the headings.
    """
    schema = TypeAdapter(model).json_schema(mode="validation")
    parts = dict(schema.get("$defs", {}))
    own = parts.pop(model.__name__, {key: value for key, value in schema.items() if key != "$defs"})
    package = model.__module__.partition(".")[0]
    sections = [_section(model.__name__, own, level, package)]
    skipped = frozenset() if model.__name__ == "Recipe" else _on_the_page_of_recipes()
    sections += [_section(name, parts[name], level, package) for name in _in_order(own, parts, skipped)]
    return "\n\n".join(sections)


@cache
def _on_the_page_of_recipes() -> frozenset[str]:
    """A recipe and all its parts."""
    recipe = import_module("neurodeploy.recipe").Recipe
    return frozenset(("Recipe", *TypeAdapter(recipe).json_schema(mode="validation").get("$defs", {})))


def _in_order(schema: Mapping[str, Any], parts: Mapping[str, Any], skipped: frozenset[str]) -> list[str]:
    """Names of the parts as a reader meets them."""
    found: list[str] = []
    waiting = [*_references(schema)]
    while waiting:
        name = waiting.pop(0)
        if name in parts and name not in found and name not in skipped:
            found.append(name)
            waiting = [*_references(parts[name]), *waiting]
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for key, value in schema.items():
            if key != "discriminator":
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _section(name: str, schema: Mapping[str, Any], level: int, package: str) -> str:
    told, meanings = _explained(schema.get("description", ""), package)
    required = schema.get("required", ())
    rows = []
    for field, one in schema.get("properties", {}).items():
        empty = {"type": "null"} in one.get("anyOf", ())
        value = f"{_type(one)} or `null`" if empty and field in required else _type(one)
        rows.append((f"`{field}`", value, "required" if field in required else _default(one), meanings.get(field, "")))
    heading = f"{'#' * level} {name}"
    return "\n\n".join(part for part in (heading, told, table(("field", "value", "default", "meaning"), rows)) if part)


def _explained(docstring: str, package: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and field → meaning."""
    text, meanings = parsed(docstring)
    for name in _SEE.findall(text):
        for found in _classes(package, name):
            meanings = parsed(found.__doc__ or "")[1] | meanings
    return text, meanings


def _classes(package: str, name: str) -> Iterator[type]:
    """Classes of that name in the modules of a package, where each is defined."""
    root = import_module(package)
    for module in walk_packages(root.__path__, f"{package}."):
        source = Path(root.__path__[0], *module.name.split(".")[1:]).with_suffix(".py")
        if not source.is_file() or f"class {name}" not in source.read_text("utf-8"):
            continue
        found = getattr(import_module(module.name), name, None)
        if isinstance(found, type) and found.__module__ == module.name:
            yield found


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"[{schema['$ref'].rpartition('/')[2]}]({_anchor(schema['$ref'])})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "discriminator" in schema:
        kinds = schema["discriminator"]["mapping"].items()
        return "a table whose `kind` is " + ", ".join(f"[`{json.dumps(kind)}`]({_anchor(place)})" for kind, place in kinds)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices if choice.get("type") != "null"))
    if schema.get("type") == "array":
        items = schema.get("items")
        inner = _type(items) if items else ", ".join(_type(one) for one in schema.get("prefixItems", ()))
        return ", ".join((f"list of: {inner}", *_limits(schema)))
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"name → {_type(schema['additionalProperties'])}"
    return ", ".join((_TYPES.get(schema.get("type", ""), "table"), *_limits(schema)))


def _anchor(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"{'recipes.md' if name in _on_the_page_of_recipes() else ''}#{name.lower()}"


def _limits(schema: Mapping[str, Any]) -> list[str]:
    if "minimum" in schema and schema["minimum"] == schema.get("maximum"):
        return [f"always {schema['minimum']}"]
    found = [f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema]
    return found + [words.format(schema[key]) for key, words in _LENGTHS.items() if key in schema]


def _default(schema: Mapping[str, Any]) -> str:
    value = schema.get("default")
    if value is None or isinstance(value, dict):
        return ""
    return f"`{json.dumps(value)}`" if not (isinstance(value, list) and any(isinstance(one, dict) for one in value)) else ""
