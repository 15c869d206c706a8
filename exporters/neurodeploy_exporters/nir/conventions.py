"""How a file's differential equations are stepped through time. NIR does not say; those who write it have ways of their own.

`nir` is the standard as it is printed, by Euler's method. The others are what the frameworks' own code does (spikingjelly
2.0.0, snntorch 1.0.0, norse 1.1.0, sinabs 3.1.3, spyx 1.0.0), read and measured; `docs/nir.md` has the table. What their
constructors take and their writers leave out are settings of a convention: `sinabs:norm_input=false,min_v_mem=-1`.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Literal

from neurodeploy.io.errors import UserError

Reset = Literal["hard", "soft"]
Writer = Literal["", "sinabs", "snntorch", "spyx"]


@dataclass(frozen=True)
class Convention:
    """One way to step.

    Attributes:
        name: of it.
        dt: one time step, in the unit of the file's time constants.
        decay: "Euler": λ = 1 − dt/τ; "exponential": λ = exp(−dt/τ).
        scaled_time: the file's time constants were multiplied by dt once too often.
        unscaled: neurons whose input is added as it is, rather than times R dt/τ; "current" stands for the synaptic one.
        strict: fires at v > θ; else at v ≥ θ.
        reset: "hard" sets v to v_reset, "soft" subtracts θ.
        late_current: the membrane sees the synaptic current of the step before.
        update: whose own neurons these are (`updates`); "" for those of NIR's equations.
        many: as many spikes in a step as θ goes into v; else one at most.
        floor: below which no potential stays, in the unit of θ; None if there is no such bound.
        late_reset: the reset comes in the next step.
        told: settings that are known, by name; the others of `SETTINGS` are assumed.
    """

    name: str
    dt: float
    decay: Literal["Euler", "exponential"] = "Euler"
    scaled_time: bool = False
    unscaled: frozenset[str] = frozenset()
    strict: bool = True
    reset: Reset = "hard"
    late_current: bool = False
    update: Writer = ""
    many: bool = False
    floor: float | None = None
    late_reset: bool = False
    told: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not 0 < self.dt < float("inf"):
            raise UserError(f"dt: {self.dt} found, a positive number expected")

    @property
    def step(self) -> float:
        """What one time step is beside a τ of the file."""
        return self.dt**2 if self.scaled_time else self.dt

    def statements(self, kinds: Set[str]) -> Iterator[str]:
        """What is assumed of nodes of these kinds, a sentence each."""
        unit = "" if self.dt == 1 else " s"
        rule = "1 - dt/tau" if self.decay == "Euler" else "exp(-dt/tau)"
        scaled = ", tau being what the file says divided by dt" if self.scaled_time else ""
        yield f"decay per step {rule} ({self.decay}), dt = {self.dt:g}{unit}{scaled}"
        plain = " and ".join(sorted(self.unscaled))
        if not self.update:
            yield "input times R dt/tau" + (f", but unscaled into {plain}" if plain else "")
        elif self.update == "sinabs" and "LIF" not in self.unscaled:
            yield "input times 1 - decay into LIF, and as it is into others"
        else:
            yield "input as it is"
        if self.strict:
            yield "fires at v > threshold"
        elif self.update:
            yield "fires at v >= threshold"
        else:
            yield "fires at v >= threshold: here at v > the next smaller float32, which says the same"
        if self.many:
            yield "fires as often in a step as the threshold goes into the potential"
        if self.reset == "hard":
            yield "reset to v_reset" + (", in the next step" if self.late_reset else "")
        else:
            yield "reset subtracts the threshold" + (", in the next step" if self.late_reset else "")
        if self.floor is not None:
            yield f"no potential stays below {self.floor:g}"
        if self.update == "spyx":
            yield "a spike comes a step after the potential that fires it"
        if "CubaLIF" in kinds or "CubaLI" in kinds:
            yield f"the membrane sees the synaptic current of the {'step before' if self.late_current else 'same step'}"

    def warnings(self, kinds: Set[str], *, known: bool) -> Iterator[str]:
        """What the file does not carry and nobody has said, a sentence each, with the option that says it.

        Args:
            kinds: of the nodes.
            known: whether somebody said who wrote the file.
        """
        if not kinds & NEURON_KINDS:
            return
        if not known and self.name == "nir":
            yield (
                "nothing in it says who wrote it, and NIR says neither dt nor how a step is taken: its own equations by "
                f"Euler's method with dt = {self.dt:g} s are assumed, a spike at v > threshold, a reset to v_reset; say it "
                f"with --written-by {'|'.join(WRITERS)}, --dt and --reset"
            )
            return
        open_settings = [one for one in SETTINGS.get(self.name, ()) if one.name not in self.told and kinds & one.kinds]
        if not known:
            yield (
                f"its numbers look like those that {self.name} writes, which is a guess; say it with --written-by {self.name}, "
                f"or another of {', '.join(WRITERS)}"
            )
        if open_settings:
            assumed = ", ".join(f"{one.name} = {one.shown(self)}" for one in open_settings)
            example = ",".join(f"{one.name}={one.other}" for one in open_settings)
            yield (
                f"{self.name} writes nothing of {', '.join(one.name for one in open_settings)}: its defaults are assumed, "
                f"{assumed}; where the network was built otherwise, say so, such as --written-by {self.name}:{example}"
            )
        if "dt" not in self.told and kinds & TIMED and self.name not in _COUNTING:
            yield f"dt = {self.dt:g} s is assumed, as {self.name} writes no other by default; say it with --dt"


NEURON_KINDS = frozenset(("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"))
FIRING = frozenset(("IF", "LIF", "CubaLIF"))
TIMED = frozenset(("LI", "LIF", "CubaLI", "CubaLIF"))
_COUNTING = ("sinabs", "spyx")  # frameworks that count time in steps

_SINABS = Convention(
    "sinabs", 1.0, "exponential", unscaled=frozenset({"IF", "LI"}), strict=False, reset="soft", update="sinabs", many=True
)
CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention("nir", 1e-4),
        Convention("spikingjelly", 1e-4, strict=False),
        Convention("snntorch", 1e-4, reset="soft", update="snntorch", late_reset=True),
        Convention("norse", 1e-3, scaled_time=True, unscaled=frozenset({"IF", "current"})),
        _SINABS,
        Convention(
            "spyx", 1.0, unscaled=frozenset({"IF", "LIF", "CubaLIF", "current"}), reset="soft", update="spyx", late_reset=True
        ),
    )
}
WRITERS = tuple(CONVENTIONS)
_OLD = {"sinabs-normalised": "sinabs:norm_input=true,spike_fn=SingleSpike"}


@dataclass(frozen=True)
class Setting:
    """An argument of a framework's neurons that its writer leaves out.

    Attributes:
        name: of the argument.
        values: what it can be → fields of the convention; "" stands for any number, which becomes the field of that name.
        other: a value that is not the default, for an example.
        kinds: nodes that it matters for.
        field: where a number goes.
    """

    name: str
    values: Mapping[str, Mapping[str, object]]
    other: str
    kinds: frozenset[str] = FIRING
    field: str = ""

    def shown(self, convention: Convention) -> str:
        """The value that a convention has."""
        for value, fields in self.values.items():
            if all(getattr(convention, name) == wanted for name, wanted in fields.items()):
                return value
        return f"{getattr(convention, self.field):g}" if self.field else "another"

    def applied(self, convention: Convention, value: str) -> Convention:
        """A convention with a value of this setting.

        Raises:
            UserError: there is no such value.
        """
        found: Mapping[str, object] | None = {key.lower(): one for key, one in self.values.items()}.get(value.lower())
        number = _number(value) if self.field else None
        if found is None and number is None:
            raise UserError(f"{self.name}={value}: {self._expected()} expected")
        found = {self.field: number} if found is None else found
        changed: dict[str, object] = {**found, "told": convention.told | {self.name}}
        return replace(convention, **changed)  # type: ignore[arg-type]

    def _expected(self) -> str:
        return " or ".join([*self.values, *(["a number"] if self.field else [])])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


SETTINGS: dict[str, tuple[Setting, ...]] = {
    "sinabs": (
        Setting(
            "norm_input",
            {"true": {"unscaled": frozenset({"IF", "LI"})}, "false": {"unscaled": frozenset({"IF", "LI", "LIF"})}},
            "false",
            frozenset({"LIF"}),
        ),
        Setting("spike_fn", {"MultiSpike": {"many": True}, "SingleSpike": {"many": False}}, "SingleSpike"),
        Setting("min_v_mem", {"none": {"floor": None}}, "-1", field="floor"),
        Setting("reset_fn", {"MembraneSubtract": {"reset": "soft"}, "MembraneReset": {"reset": "hard"}}, "MembraneReset"),
    ),
    "norse": (Setting("scaled_tau", {"true": {"scaled_time": True}, "false": {"scaled_time": False}}, "false", TIMED),),
    "snntorch": (
        Setting("reset_mechanism", {"subtract": {"reset": "soft"}, "zero": {"reset": "hard"}}, "zero"),
        Setting("reset_delay", {"true": {"late_reset": True}, "false": {"late_reset": False}}, "false"),
    ),
}
"""Framework → what its writer leaves out; the defaults are those of its constructors.

Norse's `scaled_tau` is no argument of it: 1.1.0 writes time constants times dt, versions before wrote them as they are."""


def chosen(name: str | Convention, *, dt: float | None = None, reset: Reset | None = None) -> Convention:
    """A convention, by its name or as it is, with another time step or reset if they are given.

    Args:
        name: "sinabs", or with settings: "sinabs:norm_input=false,min_v_mem=-1".
        dt, reset: instead of the convention's.

    Raises:
        UserError: no such convention, setting or time step.
    """
    convention = _parsed(name) if isinstance(name, str) else name
    if dt is not None:
        convention = replace(convention, dt=dt, told=convention.told | {"dt"})
    if reset is not None:
        settings = {"reset", "reset_fn", "reset_mechanism"}
        convention = replace(convention, reset=reset, told=convention.told | settings)
    return convention


def _parsed(text: str) -> Convention:
    name, _, settings = _OLD.get(text, text).partition(":")
    if name not in CONVENTIONS:
        raise UserError(f"convention {name!r}: not known; there are: {', '.join(CONVENTIONS)}")
    convention = CONVENTIONS[name]
    known = {one.name: one for one in SETTINGS.get(name, ())}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in known:
            there = f"there are: {', '.join(known)}" if known else "it has none"
            raise UserError(f"convention {name}: setting {key!r}: not known; {there}")
        convention = known[key].applied(convention, value)
    return convention
