"""How a file's differential equations are stepped through time. NIR does not say; those who write it have ways of their own.

`nir` is the standard as it is printed, by Euler's method. The others are what the four frameworks' own code does (spikingjelly
2.0.0, snntorch 1.0.0, norse 1.1.0, sinabs 3.1.3), read and measured; `docs/nir.md` has the table.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import NEURONS, Primitive

Reset = Literal["hard", "soft"]


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
    """

    name: str
    dt: float
    decay: Literal["Euler", "exponential"] = "Euler"
    scaled_time: bool = False
    unscaled: frozenset[str] = frozenset()
    strict: bool = True
    reset: Reset = "hard"
    late_current: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.dt < float("inf"):
            raise UserError(f"dt: {self.dt} found, a positive number expected")

    @property
    def step(self) -> float:
        """What one time step is beside a τ of the file."""
        return self.dt**2 if self.scaled_time else self.dt

    def statements(self, kinds: Collection[str]) -> Iterator[str]:
        """What is assumed of nodes of these kinds, a sentence each."""
        unit = "" if self.dt == 1 else " s"
        rule = "1 - dt/tau" if self.decay == "Euler" else "exp(-dt/tau)"
        scaled = ", tau being what the file says divided by dt" if self.scaled_time else ""
        yield f"decay per step {rule} ({self.decay}), dt = {self.dt:g}{unit}{scaled}"
        plain = " and ".join(sorted(self.unscaled))
        yield "input times R dt/tau" + (f", but unscaled into {plain}" if plain else "")
        if self.strict:
            yield "fires at v > threshold"
        else:
            yield "fires at v >= threshold: here at v > the next smaller float32, which says the same"
        yield "reset to v_reset" if self.reset == "hard" else "reset subtracts the threshold"
        if "CubaLIF" in kinds or "CubaLI" in kinds:
            yield f"the membrane sees the synaptic current of the {'step before' if self.late_current else 'same step'}"


_SINABS = Convention("sinabs", 1.0, "exponential", unscaled=frozenset({"IF", "LI", "LIF"}), strict=False, reset="soft")
CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention("nir", 1e-4),
        Convention("spikingjelly", 1e-4, strict=False),
        Convention("snntorch", 1e-4),
        Convention("norse", 1e-3, scaled_time=True, unscaled=frozenset({"IF", "current"})),
        _SINABS,
        replace(_SINABS, name="sinabs-normalised", unscaled=frozenset({"IF"})),
    )
}


def chosen(name: str | Convention, *, dt: float | None = None, reset: Reset | None = None) -> Convention:
    """A convention, by its name or as it is, with another time step or reset if they are given.

    Raises:
        UserError: no such convention, or no such time step.
    """
    if isinstance(name, str) and name not in CONVENTIONS:
        raise UserError(f"convention {name!r}: not known; there are: {', '.join(CONVENTIONS)}")
    found = CONVENTIONS[name] if isinstance(name, str) else name
    found = found if dt is None else replace(found, dt=dt)
    return found if reset is None else replace(found, reset=reset)


def recognised(nodes: list[Primitive]) -> tuple[str, str]:
    """The name of the convention that all neurons of a file look like, and how it was recognised."""
    neurons = [node for node in nodes if node.kind in NEURONS]
    if neurons:
        for name, (look, test) in _LOOKS.items():
            if all(test(node) for node in neurons):
                return name, look
    return "nir", "no framework recognised in it: the standard, by Euler's method, is assumed"


def _value(node: Primitive, name: str) -> float:
    """A field, if it is the same number everywhere; NaN otherwise."""
    array = node.fields.get(name)
    if not isinstance(array, np.ndarray) or not array.size or array.min() != array.max():
        return float("nan")
    return float(array.flat[0])


def _close(a: float, b: float) -> bool:
    return bool(np.isclose(a, b, rtol=1e-4, atol=0))


def _double(node: Primitive) -> bool:
    """SpikingJelly fills arrays by numpy, in double precision and of the layer's shape; the others keep torch's float32."""
    array = node.fields["r"]
    return isinstance(array, np.ndarray) and array.dtype == np.float64 and array.ndim > 0


def _spikingjelly(node: Primitive) -> bool:
    r, tau = _value(node, "r"), _value(node, "tau") / CONVENTIONS["spikingjelly"].dt
    match node.kind:
        case "IF":
            return _double(node) and _close(r, 1 / CONVENTIONS["spikingjelly"].dt)
        case "LIF":
            leak = _value(node, "v_leak") == _value(node, "v_reset")
            return _double(node) and leak and tau > 1 and (_close(r, 1) or _close(r, tau))
        case "CubaLIF":
            return _double(node) and _unit_gains(node, CONVENTIONS["spikingjelly"].dt)
    return False


def _snntorch(node: Primitive) -> bool:
    dt = CONVENTIONS["snntorch"].dt
    if node.kind == "LIF":
        return not _double(node) and _close(_value(node, "r"), _value(node, "tau") / dt)
    return node.kind == "CubaLIF" and not _double(node) and _unit_gains(node, dt)


def _unit_gains(node: Primitive, dt: float) -> bool:
    r, w = _value(node, "r"), _value(node, "w_in")
    return _close(r, _value(node, "tau_mem") / dt) and _close(w, _value(node, "tau_syn") / dt)


def _norse(node: Primitive) -> bool:
    """R is 1, and a time constant shorter than the time step itself, which only Norse's scaling makes."""
    if _double(node) or not _close(_value(node, "r"), 1):
        return False
    dt = CONVENTIONS["norse"].dt
    taus = [_value(node, name) for name in ("tau", "tau_mem", "tau_syn") if name in node.fields]
    return all(dt**2 <= tau < dt for tau in taus)


def _sinabs(node: Primitive) -> bool:
    """R is 1, and time constants count steps."""
    if _double(node) or not _close(_value(node, "r"), 1):
        return False
    if node.kind == "IF":
        return np.ndim(node.fields["r"]) > 0  # Norse's are single numbers
    return node.kind in ("LI", "LIF") and _value(node, "tau") >= 0.1


_LOOKS: dict[str, tuple[str, Callable[[Primitive], bool]]] = {
    "spikingjelly": (
        "neurons as SpikingJelly writes them: double precision, R = 1, tau/dt or 1/dt with dt = 0.0001 s",
        _spikingjelly,
    ),
    "snntorch": ("neurons as snnTorch writes them: single precision, R = tau/dt with dt = 0.0001 s", _snntorch),
    "sinabs": ("neurons as sinabs writes them: R = 1, time constants in steps", _sinabs),
    "norse": ("neurons as Norse writes them: R = 1, time constants below one time step of 0.001 s", _norse),
}
