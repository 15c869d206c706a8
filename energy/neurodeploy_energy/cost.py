"""Energy profiles: what an operation costs on a technology, as data files with provenance, never as code."""

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from neurodeploy.errors import UserError

_BUILT_IN = resources.files("neurodeploy_energy") / "profiles"
_COSTS = ("mac", "ac", "neuron_update_active", "neuron_update_idle", "spike")


@dataclass(frozen=True)
class Profile:
    """What operations cost. A cost that the source does not give is None and is left out of totals, which then say so.

    Attributes:
        name: as options and reports name it.
        title: for people.
        source: publication and table.
        year: of the publication.
        process, voltage: of the technology; "" if not stated.
        scope: "operation" (arithmetic alone), "core" or "system".
        basis: "measured", "simulated" or "estimated".
        mac: multiply-accumulate, pJ.
        ac: accumulate, that is, one synaptic operation, pJ.
        neuron_update_active: update of a neuron that received a non-zero current or fired in that step, pJ.
        neuron_update_idle: update of any other neuron, pJ.
        spike: sending one spike, pJ.
        note: what a reader must know.
    """

    name: str
    title: str
    source: str
    year: int
    process: str
    voltage: str
    scope: Literal["operation", "core", "system"]
    basis: Literal["measured", "simulated", "estimated"]
    mac: float | None
    ac: float | None
    neuron_update_active: float | None
    neuron_update_idle: float | None
    spike: float | None
    note: str


def built_in() -> dict[str, Profile]:
    """Name → profile, for every profile that the package carries."""
    names = sorted(entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml"))
    return {name: parse(text_of(name), name=name, origin=name) for name in names}


def text_of(name: str) -> str:
    """The TOML text of an embedded profile, with its comments.

    Raises:
        UserError: no embedded profile has that name.
    """
    entry = _BUILT_IN / f"{name}.toml"
    if "/" in name or not entry.is_file():
        names = ", ".join(sorted(e.name.removesuffix(".toml") for e in _BUILT_IN.iterdir() if e.name.endswith(".toml")))
        raise UserError(f"profile {name!r}: not known; there are: {names}; or give the path of a TOML file")
    return entry.read_text("utf-8")


def load(name_or_path: str) -> Profile:
    """An embedded profile by its name, or the user's own by the path of its TOML file.

    Raises:
        UserError: no such profile or file, or a key is unknown, missing or of the wrong type; the message names it.
    """
    if not name_or_path.endswith(".toml"):
        return parse(text_of(name_or_path), name=name_or_path, origin=name_or_path)
    path = Path(name_or_path)
    try:
        return parse(path.read_text("utf-8"), name=path.stem, origin=str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, an energy profile in TOML expected") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as UTF-8 text: {error}") from None


def parse(text: str, *, name: str, origin: str) -> Profile:
    """Validate TOML text; `origin` is what error messages call it.

    Raises:
        UserError: see `load`.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from None
    costs = found.pop("cost_pj", {})
    if not isinstance(costs, dict):
        raise UserError(f"{origin}: cost_pj: a table of costs in pJ expected")
    values: dict[str, Any] = {"name": name, "note": "", "process": "", "voltage": ""}
    values |= {f"{key}": _cost(origin, key, value) for key, value in costs.items()}
    for key in _COSTS:
        values.setdefault(key, None)
    allowed = {field.name for field in fields(Profile)} - {"name", *_COSTS}
    for key, value in found.items():
        if key not in allowed:
            raise UserError(f"{origin}: {key}: unknown key; allowed are {', '.join(sorted(allowed))} and the table cost_pj")
        values[key] = _described(origin, key, value)
    missing = sorted({field.name for field in fields(Profile)} - values.keys())
    if missing:
        raise UserError(f"{origin}: {missing[0]}: missing; a profile states its title, source, year, scope and basis")
    return Profile(**values)


def _cost(origin: str, key: str, value: object) -> float:
    if key not in _COSTS:
        raise UserError(f"{origin}: cost_pj.{key}: unknown cost; allowed are {', '.join(_COSTS)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UserError(f"{origin}: cost_pj.{key}: {value!r} found, a number of pJ from 0 upwards expected")
    return float(value)


def _described(origin: str, key: str, value: object) -> object:
    choices = {"scope": ("operation", "core", "system"), "basis": ("measured", "simulated", "estimated")}
    if key == "year":
        if not isinstance(value, int) or isinstance(value, bool):
            raise UserError(f"{origin}: year: {value!r} found, a whole number expected")
    elif not isinstance(value, str):
        raise UserError(f"{origin}: {key}: {value!r} found, text expected")
    elif key in choices and value not in choices[key]:
        raise UserError(f"{origin}: {key}: {value!r} found, one of {', '.join(choices[key])} expected")
    elif key == "source" and not value.strip():
        raise UserError(f"{origin}: source: empty; say where the constants come from")
    return value
