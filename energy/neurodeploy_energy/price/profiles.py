"""Energy profiles: what an operation costs on a technology, as data files with provenance, never as code."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from neurodeploy.errors import UserError
from neurodeploy_energy.price.memory import MemoryModel

_BUILT_IN = resources.files("neurodeploy_energy") / "profiles"
_MEMORY_MODELS = resources.files("neurodeploy_energy") / "memory_models"
_COSTS = ("mac", "ac", "multiply", "neuron_update_active", "neuron_update_idle", "spike")
_STATIC = {"power_mw": "static_mw", "step_us": "step_us"}
_OPTIONAL: dict[str, Any] = {
    "note": "",
    "process": "",
    "voltage": "",
    "numbers": "",
    "bits": None,
    "all_in": False,
    "template": "",
}
_CHOICES = {
    "scope": ("operation", "core", "system"),
    "basis": ("measured", "simulated", "estimated"),
    "numbers": ("float", "integer"),
}


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
        all_in: `ac` is the energy of a whole chip or system divided by its synaptic events; nothing else may be added to it.
        numbers, bits: format and width of the values that are computed with; "" and None if not stated.
        multiply: the multiplication within `mac`, pJ.
        static_mw: power that flows whether anything is computed or not, mW.
        step_us: duration of one time step, µs; with `static_mw` it gives the static energy of a sample.
        memory: what accesses to memory cost, and how many there are; None: accesses are not in the total.
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
    all_in: bool = False
    numbers: Literal["float", "integer", ""] = ""
    bits: int | None = None
    multiply: float | None = None
    static_mw: float | None = None
    step_us: float | None = None
    memory: MemoryModel | None = None

    @property
    def costs(self) -> dict[str, float]:
        """What is costed, in words → pJ."""
        named = {
            "MAC": self.mac,
            "AC": self.ac,
            "active update": self.neuron_update_active,
            "idle update": self.neuron_update_idle,
            "spike": self.spike,
        }
        return {name: cost for name, cost in named.items() if cost is not None}


def built_in() -> dict[str, Profile]:
    """Name → profile, for every profile with constants that the package carries."""
    return {name: parse(text_of(name), name=name, origin=name) for name in _names() if name not in templates()}


def templates() -> dict[str, str]:
    """Name → why there are no constants, for every embedded file that asks for the user's own."""
    found = {name: tomllib.loads(text_of(name)) for name in _names()}
    return {name: content["template"] for name, content in found.items() if "template" in content}


def text_of(name: str) -> str:
    """The TOML text of an embedded profile, with its comments.

    Raises:
        UserError: no embedded profile has that name.
    """
    if name not in _names():
        raise UserError(f"profile {name!r}: not known; there are: {', '.join(_names())}; or give the path of a TOML file")
    return (_BUILT_IN / f"{name}.toml").read_text("utf-8")


def load(name_or_path: str) -> Profile:
    """An embedded profile by its name, or the user's own by the path of its TOML file.

    `NAME+MODEL` adds the memory accesses of an embedded memory model: `cmos45-int8+lemaire`.

    Raises:
        UserError: no such profile or file, or a key is unknown, missing or of the wrong type; the message names it.
    """
    place, plus, memory = name_or_path.rpartition("+")
    if plus and memory in memory_model_names():
        return with_memory(load(place), memory)
    if not name_or_path.endswith(".toml"):
        return parse(text_of(name_or_path), name=name_or_path, origin=name_or_path)
    path = Path(name_or_path)
    try:
        return parse(path.read_text("utf-8"), name=path.stem, origin=str(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, an energy profile in TOML expected") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as UTF-8 text: {error}") from None


def with_memory(profile: Profile, model: str) -> Profile:
    """The profile with the accesses of a memory model, under the name `PROFILE+MODEL`.

    Raises:
        UserError: the profile is that of a chip, whose operations include their memory, or does not say how wide its values
            are.
    """
    if profile.scope != "operation":
        raise UserError(
            f"profile {profile.name}: its scope is the {profile.scope}, memory included; +{model} would add it twice"
        )
    if profile.bits is None or profile.mac is None or profile.ac is None:
        raise UserError(f"profile {profile.name}: +{model} needs its bits, cost_pj.mac and cost_pj.ac; add them to the file")
    found = load_memory_model(model)
    note = f"{profile.note} {found.note}".strip()
    title, source = f"{profile.title}, with memory", f"{profile.source}; memory: {found.source}"
    return replace(profile, name=f"{profile.name}+{model}", title=title, source=source, note=note, memory=found)


def parse(text: str, *, name: str, origin: str) -> Profile:
    """Validate TOML text; `origin` is what error messages call it.

    Raises:
        UserError: see `load`.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{origin}: not valid TOML: {error}") from None
    values: dict[str, Any] = {"name": name, **_OPTIONAL, **dict.fromkeys((*_COSTS, *_STATIC.values()))}
    values |= _table(origin, found, "cost_pj", {key: key for key in _COSTS}, "costs in pJ", "pJ")
    values |= _table(origin, found, "static", _STATIC, "power_mw and step_us", "mW or µs")
    allowed = {field.name for field in fields(Profile)} | {"template"}
    allowed -= {"name", "memory", *_COSTS, *_STATIC.values()}
    for key, value in found.items():
        if key not in allowed:
            keys = ", ".join(sorted(allowed))
            raise UserError(f"{origin}: {key}: unknown key; allowed are {keys} and the tables cost_pj and static")
        values[key] = _described(origin, key, value)
    missing = sorted({field.name for field in fields(Profile)} - values.keys() - {"memory"})
    if missing:
        raise UserError(f"{origin}: {missing[0]}: missing; a profile states its title, source, year, scope and basis")
    for fault in _contradictions(values):
        raise UserError(f"{origin}: {fault}")
    del values["template"]
    return Profile(**values)


def _names() -> list[str]:
    return sorted(entry.name.removesuffix(".toml") for entry in _BUILT_IN.iterdir() if entry.name.endswith(".toml"))


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    """What cannot be true of one profile."""
    given = [key for key in _COSTS if values[key] is not None]
    if values["template"] and not given:
        yield f"{values['template']}; write your own constants into the table cost_pj of a copy, and say where they come from"
    if values["all_in"] and given != ["ac"]:
        yield f"all_in: the one cost of such a profile is cost_pj.ac, {', '.join(given) or 'none'} found"
    if values["all_in"] and values["static_mw"] is not None:
        yield "all_in: static power is part of cost_pj.ac already; remove static.power_mw"
    if values["multiply"] is not None and (values["mac"] is None or values["multiply"] > values["mac"]):
        yield "cost_pj.multiply: is a part of cost_pj.mac, which is less or missing"
    if values["static_mw"] is not None and values["step_us"] is None:
        yield "static.step_us: missing; static energy is power times the duration of a time step"


def _table(origin: str, found: dict[str, Any], table: str, keys: dict[str, str], expected: str, unit: str) -> dict[str, float]:
    """The numbers of one table, taken out of `found`, under the names of their fields."""
    content = found.pop(table, {})
    if not isinstance(content, dict):
        raise UserError(f"{origin}: {table}: a table of {expected} expected")
    for key, value in content.items():
        if key not in keys:
            kind = "cost" if table == "cost_pj" else "key"
            raise UserError(f"{origin}: {table}.{key}: unknown {kind}; allowed are {', '.join(keys)}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise UserError(f"{origin}: {table}.{key}: {value!r} found, a number of {unit} from 0 upwards expected")
    return {keys[key]: float(value) for key, value in content.items()}


def _described(origin: str, key: str, value: object) -> object:
    if key in ("year", "bits"):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{origin}: {key}: {value!r} found, a whole number expected")
    elif key == "all_in":
        if not isinstance(value, bool):
            raise UserError(f"{origin}: {key}: {value!r} found, true or false expected")
    elif not isinstance(value, str):
        raise UserError(f"{origin}: {key}: {value!r} found, text expected")
    elif key in _CHOICES and value not in _CHOICES[key]:
        raise UserError(f"{origin}: {key}: {value!r} found, one of {', '.join(_CHOICES[key])} expected")
    elif key == "source" and not value.strip():
        raise UserError(f"{origin}: source: empty; say where the constants come from")
    return value


def memory_model_names() -> list[str]:
    """Of the memory models that the package carries."""
    return sorted(entry.name.removesuffix(".toml") for entry in _MEMORY_MODELS.iterdir() if entry.name.endswith(".toml"))


def load_memory_model(name: str) -> MemoryModel:
    """One that the package carries."""
    content = tomllib.loads((_MEMORY_MODELS / f"{name}.toml").read_text("utf-8"))
    values = {**content, **content["access_pj"], "name": name}
    return MemoryModel(**{field.name: values[field.name] for field in fields(MemoryModel)})
