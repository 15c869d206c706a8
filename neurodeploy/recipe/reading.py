"""Finding and reading recipes: embedded ones by name, others by path; every fault named with its setting."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from torch import nn

from neurodeploy.io.errors import UserError, field_name
from neurodeploy.io.imports import callable_named, looking_in
from neurodeploy.io.reading import text_of as text_of_file
from neurodeploy.io.reading import toml_tables
from neurodeploy.recipe.recipe import Recipe

_MOST, _LONGEST, _QUOTED = 1000, 350, 120
"""Characters: of the faults in a message, about; of one of them; and of a value or a name that it quotes."""
_BUILT_IN = resources.files("neurodeploy") / "recipes"


def built_in() -> dict[str, Recipe]:
    """Name → recipe, for every recipe that the package carries."""
    names = sorted(entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml"))
    return {name: parse((_BUILT_IN / f"{name}.toml").read_text("utf-8"), origin=name) for name in names}


def text_of(name: str) -> str:
    """The TOML text of an embedded recipe, with its comments.

    Raises:
        UserError: no embedded recipe has that name.
    """
    if name not in built_in():
        raise UserError(f"{name}: no embedded recipe of that name (there are: {', '.join(built_in())})")
    return (_BUILT_IN / f"{name}.toml").read_text("utf-8")


def with_seeds(recipe: Recipe, seeds: tuple[int, ...]) -> Recipe:
    """The recipe with other seeds; unchanged if `seeds` is empty.

    Raises:
        UserError: a seed is negative or occurs twice.
    """
    if not seeds:
        return recipe
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UserError(f"seeds {', '.join(map(str, seeds))}: different numbers from 0 upwards expected")
    return recipe.model_copy(update={"seeds": seeds})


def load(name_or_path: str) -> Recipe:
    """The recipe of a TOML file, or an embedded one by its name. It may name the user's own modules, such as those beside it.

    Raises:
        UserError: no such file or recipe, or a setting that is unknown or of the wrong type; the message names it.
    """
    with looking_in(*beside(name_or_path)):
        return parse_content(*read_content(name_or_path))


def beside(name_or_path: str) -> tuple[Path, ...]:
    """The folder of a recipe's file, where the modules of the user's that it names are looked for."""
    path = Path(name_or_path)
    return (path.resolve().parent,) if path.is_file() else ()


def read_content(name_or_path: str) -> tuple[dict[str, Any], str]:
    """The TOML tables of a recipe, not validated yet, and what error messages call it.

    Raises:
        UserError: no such file or recipe, or it is no TOML.
    """
    embedded = _BUILT_IN / f"{name_or_path}.toml"
    if "/" not in name_or_path and embedded.is_file():
        return toml_tables(embedded.read_text("utf-8"), name_or_path), name_or_path
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join(built_in())
        raise UserError(f"{name_or_path}: no such recipe file, and no embedded recipe of that name (there are: {names})")
    return toml_tables(text_of_file(path, "a TOML recipe"), str(path)), str(path)


def parse(text: str, *, origin: str) -> Recipe:
    """Validate TOML text; `origin` is what error messages call it.

    Raises:
        UserError: every setting at fault is named, with what was found and what was expected.
    """
    return parse_content(toml_tables(text, origin), origin)


def parse_content(content: dict[str, Any], origin: str) -> Recipe:
    """Validate the tables of a recipe; see `parse`. `[sweep]` is about the recipe, not part of the experiment."""
    with faults_named(origin):
        recipe = Recipe.model_validate({key: value for key, value in content.items() if key != "sweep"})
    for role in recipe.relu_roles:
        own = recipe.relu(role)
        if own is not None and own.module is not None:  # now that the folder of the recipe is looked in
            callable_named(own.module, what=f"{origin}: {role}.module", kind=nn.Module)
    return recipe


def parse_json(text: str, *, origin: str) -> Recipe:
    """Validate a recipe in JSON, as run folders keep it; see `parse`."""
    with faults_named(origin):
        return Recipe.model_validate_json(text)


@contextmanager
def faults_named(origin: str) -> Iterator[None]:
    """Raise a UserError for what pydantic finds inside: each setting at fault, what was found and what was expected."""
    try:
        yield
    except ValidationError as error:
        faults = [_shortened(_fault(detail), _LONGEST) for detail in error.errors()]
        ends = accumulate(map(len, faults))
        shown = [fault for fault, end in zip(faults, ends, strict=True) if end - len(fault) <= _MOST]
        more = f"; and {len(faults) - len(shown)} more" if len(faults) > len(shown) else ""
        raise UserError(f"{origin}: {'; '.join(shown)}{more}") from None


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fault(detail: ErrorDetails) -> str:
    setting = _shortened(field_name(detail["loc"]) or "recipe", _QUOTED)
    if detail["type"] == "extra_forbidden":
        return f"{setting}: unknown setting; remove it or check its spelling"
    if detail["type"] == "missing":
        return f"{setting}: missing, give it a value"
    reason = detail["msg"].removeprefix("Value error, ")
    given = "" if detail["type"] == "value_error" else f"{_shortened(repr(detail['input']), _QUOTED)} found, "
    return f"{setting}: {given}{reason[0].lower()}{reason[1:]}"
