"""Energy profiles: what an operation costs on a technology, as data files with provenance, never as code."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from neurodeploy.io.errors import UserError
from neurodeploy.io.reading import text_of as text_of_file
from neurodeploy.io.reading import toml_tables
from neurodeploy_energy.declared import Count, Declared, FaultyField, Positive
from neurodeploy_energy.price.hierarchy import Hierarchy, Sram
from neurodeploy_energy.price.memory import Lemaire, ValueWidths

_PROFILES, _MEMORY_MODELS, _PUBLISHED = (
    resources.files("neurodeploy_energy") / folder for folder in ("profiles", "memory_models", "published")
)
_TABLES = {"cost_pj": ("costs in pJ", "cost", "pJ"), "static": ("power_mw and step_us", "key", "mW or µs")}
"""Table of a profile's file → what is in it, what one entry is called, and their unit."""


@dataclass(frozen=True, kw_only=True)
class Profile(Declared):
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
        integer_multiply, integer_ac: of 8-bit integers in the same process, where `numbers` are floats: for layers that a
            quantised network computes in integers. The multiplication grows with the product of both widths.
        static_mw: power that flows whether anything is computed or not, mW.
        step_us: duration of one time step, µs; with `static_mw` it gives the static energy of a sample.
        memory: what accesses to memory cost, and how many there are; None: accesses are not in the total.
    """

    name: str
    title: str
    source: str
    year: Positive
    process: str = ""
    voltage: str = ""
    scope: Literal["operation", "core", "system"]
    basis: Literal["measured", "simulated", "estimated"]
    mac: Count | None = None
    ac: Count | None = None
    neuron_update_active: Count | None = None
    neuron_update_idle: Count | None = None
    spike: Count | None = None
    note: str = ""
    all_in: bool = False
    numbers: Literal["float", "integer", ""] = ""
    bits: Positive | None = None
    multiply: Count | None = None
    integer_multiply: Count | None = None
    integer_ac: Count | None = None
    static_mw: Count | None = None
    step_us: Count | None = None
    memory: Lemaire | Hierarchy | None = None

    def mac_pj(self, weight_bits: int = 0, activation_bits: int = 0) -> float | None:
        """A multiply-accumulate of integers of two widths; of the profile's numbers where one is 0, or integers have no price.

        A multiplication grows with the product of the widths: those of 8 and 32 bits cost 0.2 and 3.1 pJ (Horowitz 2014).
        """
        multiply, add, bits = self.integer_multiply, self.integer_ac, 8
        if self.numbers == "integer" and self.bits is not None:
            multiply, add, bits = self.multiply, self.ac, self.bits
        if not weight_bits or not activation_bits or multiply is None or add is None:
            return self.mac
        return multiply * weight_bits * activation_bits / bits**2 + add

    def widths(self, weight_bits: int = 0, activation_bits: int = 0) -> ValueWidths | None:
        """Bits of weights and activations as they lie in memory; None where the profile does not say."""
        if weight_bits and activation_bits and self.mac_pj(weight_bits, activation_bits) is not self.mac:
            return ValueWidths(weight_bits, activation_bits)
        return None if self.bits is None else ValueWidths(self.bits, self.bits)

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


@dataclass(frozen=True)
class PublishedInference:
    """An inference whose energy was measured on a chip and published: a value to hold estimates against, which prices nothing.

    Attributes:
        chip: on which it ran.
        uj: per inference.
        task: what was inferred, and what is in the figure.
        source: the publication.
    """

    chip: str
    uj: float
    task: str
    source: str


def published_inferences() -> tuple[PublishedInference, ...]:
    """Measured energies of whole inferences."""
    content = tomllib.loads((_PUBLISHED / "inferences.toml").read_text("utf-8"))
    return tuple(PublishedInference(**entry) for entry in content["inference"])


_COSTS = ("mac", "ac", "multiply", "integer_multiply", "integer_ac", "neuron_update_active", "neuron_update_idle", "spike")
_PATHS = {f"cost_pj.{name}": name for name in _COSTS} | {"static.power_mw": "static_mw", "static.step_us": "step_us"}
_PATHS |= {one.name: one.name for one in fields(Profile) if one.name not in ("name", "memory", *_PATHS.values())}
"""Path in a profile's file → field."""


def built_in() -> dict[str, Profile]:
    """Name → profile, for every profile with constants that the package carries."""
    return {name: _embedded(name) for name in _names() if name not in templates()}


def templates() -> dict[str, str]:
    """Name → why there are no constants, for every embedded file that asks for the user's own."""
    contents = {name: tomllib.loads(text_of(name)) for name in _names()}
    return {name: content["template"] for name, content in contents.items() if "template" in content}


def text_of(name: str) -> str:
    """The TOML text of an embedded profile, with its comments.

    Raises:
        UserError: no embedded profile has that name.
    """
    if name not in _names():
        raise UserError(f"profile {name!r}: not known; there are: {', '.join(_names())}; or give the path of a TOML file")
    return (_PROFILES / f"{name}.toml").read_text("utf-8")


def load(name_or_path: str | Path) -> Profile:
    """An embedded profile by its name, or the user's own by the path of its TOML file.

    `NAME+MODEL` adds the memory accesses of an embedded memory model: `cmos45-int8+lemaire`, `cmos45-int8+hierarchy`.

    Raises:
        UserError: no such profile or file, or a key is unknown, missing or of the wrong type; the message names it.
    """
    given = str(name_or_path)
    profile, plus, memory = given.rpartition("+")
    if plus and memory in memory_model_names():
        return with_memory(load(profile), memory)
    if not given.endswith(".toml"):
        return _embedded(given)
    path = Path(given)
    return parse(text_of_file(path, "an energy profile in TOML"), name=path.stem, origin=str(path))


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
    memory, process = load_memory_model(model), _memory_content(model)["process"]
    if profile.process not in ("", process):
        raise UserError(
            f"profile {profile.name}: its arithmetic is that of {profile.process}, the accesses of +{model} are those of "
            f"{process}; a total of both would be that of no technology"
        )
    note = f"{profile.note} {memory.note}".strip()
    title, source = f"{profile.title}, with memory", f"{profile.source}; memory: {memory.source}"
    return replace(profile, name=f"{profile.name}+{model}", title=title, source=source, note=note, memory=memory)


def parse(text: str, *, name: str, origin: str) -> Profile:
    """Check TOML text; `origin` is what error messages call it.

    Raises:
        UserError: see `load`.
    """
    values, template = _values(text, origin)
    defaults = {one.name: one.default for one in fields(Profile) if one.default is not MISSING}
    try:
        profile = Profile.from_values(defaults | values | {"name": name})
    except FaultyField as fault:
        raise UserError(f"{origin}: {_described(fault)}") from None
    return _possible(profile, template, origin)


def _embedded(name: str) -> Profile:
    """One that the package carries; tests check its types, so that counting needs no pydantic."""
    values, template = _values(text_of(name), name)
    return _possible(Profile(name=name, **values), template, name)


def memory_model_names() -> list[str]:
    """Of the memory models that the package carries."""
    return sorted(entry.name.removesuffix(".toml") for entry in _MEMORY_MODELS.iterdir() if entry.name.endswith(".toml"))


def load_memory_model(name: str) -> Lemaire | Hierarchy:
    """One that the package carries."""
    content = _memory_content(name)
    del content["process"]
    if "sram" in content:
        return Hierarchy(name=name, sram=tuple(Sram(**one) for one in content.pop("sram")), **content)
    return Lemaire(name=name, **content.pop("access_pj"), **content)


def _memory_content(name: str) -> dict[str, Any]:
    return tomllib.loads((_MEMORY_MODELS / f"{name}.toml").read_text("utf-8"))


def _names() -> list[str]:
    return sorted(entry.name.removesuffix(".toml") for entry in _PROFILES.iterdir() if entry.name.endswith(".toml"))


def _values(text: str, origin: str) -> tuple[dict[str, Any], object]:
    """Field → value, as the file has it, and why it is a template, if it is one."""
    content = toml_tables(text, origin)
    template, values = content.pop("template", ""), {}
    for key, value in content.items():
        if key not in _TABLES:
            if key not in _PATHS:
                allowed = ", ".join(sorted([path for path in _PATHS if "." not in path] + ["template"]))
                raise UserError(f"{origin}: {key}: unknown key; allowed are {allowed} and the tables cost_pj and static")
            values[_PATHS[key]] = value
            continue
        holds, entry, _ = _TABLES[key]
        if not isinstance(value, dict):
            raise UserError(f"{origin}: {key}: a table of {holds} expected")
        for inner, number in value.items():
            if f"{key}.{inner}" not in _PATHS:
                known = ", ".join(path.removeprefix(f"{key}.") for path in _PATHS if path.startswith(f"{key}."))
                raise UserError(f"{origin}: {key}.{inner}: unknown {entry}; allowed are {known}")
            values[_PATHS[f"{key}.{inner}"]] = number
    return values, template


def _described(fault: FaultyField) -> str:
    """What is wrong with a field, in the words of the file."""
    path = next(path for path, name in _PATHS.items() if name == fault.path.partition(".")[0])
    if fault.kind == "missing":
        return f"{path}: missing; a profile states its title, source, year, scope and basis"
    table = path.partition(".")[0]
    expected = f"a number of {_TABLES[table][2]} from 0 upwards" if table in _TABLES else "a whole number"
    if fault.kind == "literal_error":
        choices = re.findall("'(.+?)'", fault.choices)
        expected = f"one of {', '.join(choices)}"
    expected = {"string_type": "text", "bool_type": "true or false"}.get(fault.kind, expected)
    return f"{path}: {fault.value!r} found, {expected} expected"


def _possible(profile: Profile, template: object, origin: str) -> Profile:
    """The profile, if all of it can be true together."""
    for contradiction in _contradictions(profile, template):
        raise UserError(f"{origin}: {contradiction}")
    return profile


def _contradictions(p: Profile, template: object) -> Iterator[str]:
    """What cannot be true of one profile."""
    given = [name for name in _COSTS if getattr(p, name) is not None]
    if not isinstance(template, str):
        yield f"template: {template!r} found, text expected"
    if template and not given:
        yield f"{template}; write your own constants into the table cost_pj of a copy, and say where they come from"
    if not p.source.strip():
        yield "source: empty; say where the constants come from"
    if p.all_in and given != ["ac"]:
        yield f"all_in: the one cost of such a profile is cost_pj.ac, {', '.join(given) or 'none'} found"
    if p.all_in and p.static_mw is not None:
        yield "all_in: static power is part of cost_pj.ac already; remove static.power_mw"
    if p.multiply is not None and (p.mac is None or p.multiply > p.mac):
        yield "cost_pj.multiply: is a part of cost_pj.mac, which is less or missing"
    if p.static_mw is not None and p.step_us is None:
        yield "static.step_us: missing; static energy is power times the duration of a time step"
