"""`[sweep]`: what a search may change in a recipe, and what it is after. A table of the recipe, or a TOML file of its own."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import looking_in
from neurodeploy.io.reading import text_of, toml_tables
from neurodeploy.recipe.reading import beside, faults_named, parse_content, read_content
from neurodeploy.recipe.recipe import Recipe
from neurodeploy.recipe.sections import Section

Value = bool | int | float | str


class Parameter(Section):
    """`[[sweep.parameter]]`: one setting of the recipe, and where it is searched.

    Attributes:
        path: of the setting, with dots: `neuron.threshold`, `student.NAME.loss.KIND.weight`. An element of a list is called by
            its `name`, its `kind` (of an import path what follows the colon) or its number from 0.
        low, high: both included; whole numbers where both are whole.
        log: searched by orders of magnitude.
        choices: instead of `low` and `high`.
    """

    path: str = Field(pattern=r"^[\w-]+(\.[\w-]+)*$")
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Value, ...] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_a_range_or_choices(self) -> "Parameter":
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError(f"{self.path}: choices, or low and high; not both")
        elif self.low is None or self.high is None:
            raise ValueError(f"{self.path}: low and high, or choices, are missing")
        elif not self.low < self.high:
            raise ValueError(f"{self.path}: low {self.low} found, less than high {self.high} expected")
        elif self.log and self.low <= 0:
            raise ValueError(f"{self.path}: low {self.low} found, more than 0 expected for log = true")
        return self


class SweepSettings(Section):
    """`[sweep]`.

    Attributes:
        trials: in all, those of earlier calls and other processes included.
        profile: under which the energy is estimated.
        student: whose accuracy and energy are sought; the deployed one if None.
        validation_samples: of the training set, which no network of the sweep is trained on and every trial is judged by; the
            test set is only looked at, so that the search does not fit it. 0: a fifth.
        parameter: the search space.
    """

    trials: int = Field(default=20, ge=1)
    profile: str = "cmos45-fp32"
    student: str | None = None
    validation_samples: int = Field(default=0, ge=0)
    parameter: tuple[Parameter, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_setting_once(self) -> "SweepSettings":
        paths = [parameter.path for parameter in self.parameter]
        if len(set(paths)) != len(paths):
            raise ValueError(f"parameter {max(paths, key=paths.count)}: occurs twice")
        return self


class Space(Section):
    """A recipe and the search in it.

    Attributes:
        content: the recipe as TOML tables.
        origin: what error messages call it.
        settings: of the search.
    """

    content: Annotated[dict[str, Any], Field(repr=False)]
    origin: str
    settings: SweepSettings

    def recipe(self, values: Mapping[str, Value]) -> Recipe:
        """The recipe with other settings, by path, and with the sought student and the students that teach it alone.

        Raises:
            UserError: a path leads nowhere, or the recipe is not sound with these values.
        """
        content = deepcopy(self.content)
        for path, value in values.items():
            _set(content, path.split("."), value, f"{self.origin}: sweep: {path}")
        with looking_in(*beside(self.origin)):
            whole = parse_content(content, origin=self.origin)
        name = self.settings.student or whole.deployed
        if not whole.spikes(name):
            names = ", ".join(student.name for student in whole.student)
            raise UserError(f"{self.origin}: sweep.student: {name!r} found, one of {names} expected")
        needed, teaching = {name}, whole.teacher_of(name)
        while teaching is not None and teaching not in needed:
            needed.add(teaching)
            teaching = whole.teacher_of(teaching)
        students = tuple(student for student in whole.student if student.name in needed)
        return whole.model_copy(update={"student": students, "baseline": name, "deployed": name})


def load_space(recipe: str, path: Path | None = None) -> Space:
    """The search that a recipe's `[sweep]` or a TOML file describes.

    Args:
        recipe: embedded by its name, or the path of a TOML file.
        path: of a file with the content of `[sweep]`, instead of the recipe's own.

    Raises:
        UserError: one of them is missing, or not of this form.
    """
    content, origin = read_content(recipe)
    own = content.pop("sweep", None)
    search, source = (own, f"{origin}: sweep") if path is None else (_tables(path), str(path))
    if search is None:
        raise UserError(f"{origin}: no [sweep] found; add one with a [[sweep.parameter]], or name a file with --space")
    with faults_named(source):
        return Space(content=content, origin=origin, settings=SweepSettings.model_validate(search))


def _tables(path: Path) -> dict[str, Any]:
    content = toml_tables(text_of(path, "a search space in TOML"), str(path))
    inner = content.get("sweep")
    return inner if isinstance(inner, dict) and len(content) == 1 else content


def _set(content: Any, path: list[str], value: Value, origin: str) -> None:
    """Change one setting in place; tables that are not there yet are made, elements of lists must be there."""
    *tables, last = path
    for key in tables:
        content = content.setdefault(key, {}) if isinstance(content, dict) else _element(content, key, origin)
    if not isinstance(content, dict):
        raise UserError(f"{origin}: {last}: a setting of a table expected, {type(content).__name__} found")
    content[last] = value


def _element(content: Any, key: str, origin: str) -> Any:
    if not isinstance(content, list):
        raise UserError(f"{origin}: {key}: a table or a list expected, {type(content).__name__} found")
    for number, table in enumerate(content):
        called = [str(table.get(name)) for name in ("name", "kind")] if isinstance(table, dict) else []
        if key in (str(number), *called, *(name.rpartition(":")[2] for name in called)):
            return table
    names = [str(table.get("name", table.get("kind"))) for table in content if isinstance(table, dict)]
    raise UserError(f"{origin}: {key}: not in the list, which has {', '.join(names) or 'nothing with a name'}")
