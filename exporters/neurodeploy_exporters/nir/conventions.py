"""How a file's differential equations are stepped through time. NIR does not say; those who write it have ways of their own.

`nir` is the standard as it is printed, by Euler's method. The others are what the four frameworks' own code does (spikingjelly
2.0.0, snntorch 1.0.0, norse 1.1.0, sinabs 3.1.3), read and measured; `docs/nir.md` has the table.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph.ops import Shape
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
    convention = CONVENTIONS[name] if isinstance(name, str) else name
    convention = convention if dt is None else replace(convention, dt=dt)
    return convention if reset is None else replace(convention, reset=reset)


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


@dataclass(frozen=True)
class Discrete:
    """`i ← α i + x`, then `v ← λ v + g i + c`, and firing; what comes before the update is `scale · x + shift`.

    Attributes:
        neuron: λ, θ and the reset; None where it never fires.
        decay: λ.
        current_decay: α; None without a synaptic current.
        scale, shift: per channel, one number or `[C]`; 1 and 0 where all of it is in θ.
        late: whether the membrane sees the current of the step before.
    """

    neuron: NeuronParameters | None
    decay: float
    current_decay: float | None
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]
    late: bool


def discrete(name: str, node: Primitive, shape: Shape, convention: Convention) -> Discrete:
    """The update of a layer of neurons.

    The gain of the input goes into θ, which changes the unit of the potential and no spike. So do v_reset and v_leak, as far as
    they shift the potential; what v_leak drives beyond that is a constant input.

    Args:
        name: of the node, for messages.
        node: an I, IF, LI, LIF, CubaLI or CubaLIF.
        shape: of the layer.
        convention: how to step.

    Raises:
        UserError: constants that differ within a channel, time constants that differ at all or are too short for dt, or a
            threshold that the potential reaches without input.
    """
    constants = _Constants(name, node, shape)
    cuba = node.kind in ("CubaLI", "CubaLIF")
    tau = constants.number("tau_mem" if cuba else "tau", float("inf"))
    decay, share = _decay(name, tau, convention)
    resistance, v_leak = constants.get("r"), constants.get("v_leak")
    share = convention.dt if node.kind in ("I", "IF") else share  # without a leak nothing of the input is lost
    gain = np.ones(1) if node.kind in convention.unscaled else resistance * share
    current_decay = None
    if cuba:
        current_decay, current_share = _decay(name, constants.number("tau_syn", float("inf")), convention)
        gain = gain * (1.0 if "current" in convention.unscaled else constants.get("w_in") * current_share)
    if not (gain > 0).all():
        raise UserError(f"node {name}: an input gain of {gain.min():g} found, a positive one expected")
    late = cuba and convention.late_current
    if "v_threshold" not in node.fields:
        drive = (1 - decay) * v_leak
        return Discrete(None, decay, current_decay, gain, drive, late)
    v_reset = constants.get("v_reset", 0.0) if convention.reset == "hard" else v_leak
    threshold = constants.get("v_threshold")
    if convention.reset == "soft" and v_leak.any():
        raise UserError(f"node {name}: v_leak of {v_leak.flat[0]:g} found beside a reset that subtracts, 0 expected")
    height = threshold - v_reset
    if not (height > 0).all():
        raise UserError(f"node {name}: v_threshold of {threshold.min():g} found, one above v_reset expected")
    drive = (1 - decay) * (v_leak - v_reset) if node.kind != "IF" else np.zeros(1)
    unit = height / gain
    if not ((unit.astype(np.float32) > 0) & np.isfinite(unit.astype(np.float32))).all():
        raise UserError(f"node {name}: v_threshold of {threshold.max():g} beside an input gain of {gain.max():g} found: absurd")
    if unit.size > 1 and unit.min() != unit.max():
        parameters = NeuronParameters(decay, _threshold(1.0, convention), convention.reset)
        return Discrete(parameters, decay, current_decay, gain / height, drive / height, late)
    parameters = NeuronParameters(decay, _threshold(float(unit.flat[0]), convention), convention.reset)
    return Discrete(parameters, decay, current_decay, np.ones(1), drive / gain, late)


def _threshold(value: float, convention: Convention) -> float:
    """`v > θ` with our θ says what the convention's comparison says, in float32."""
    return value if convention.strict else float(np.nextafter(np.float32(value), np.float32(0)))


def _decay(name: str, tau: float, convention: Convention) -> tuple[float, float]:
    """λ, and what of a constant input becomes the potential."""
    if not tau > 0:
        raise UserError(f"node {name}: a time constant of {tau:g} found, a positive one expected")
    decay = 1 - convention.step / tau if convention.decay == "Euler" else float(np.exp(-convention.step / tau))
    if -1e-6 < decay < 0:  # tau = dt, but for rounding
        decay = 0.0
    if decay < 0:
        raise UserError(
            f"node {name}: a time constant of {tau:g} found, shorter than dt = {convention.dt:g}; give another dt, or another "
            "convention"
        )
    return decay, 1 - decay


class _Constants:
    """Fields of a node, one number or one per channel."""

    def __init__(self, name: str, node: Primitive, shape: Shape) -> None:
        self.name, self.node, self.shape = name, node, shape

    def get(self, field: str, default: float = 0.0) -> NDArray[np.float64]:
        """`[1]`, or `[C]`."""
        array: Any = self.node.fields.get(field, np.float64(default))
        return per_channel(f"node {self.name}: {field}", np.asarray(array), self.shape)

    def number(self, field: str, default: float) -> float:
        values = self.get(field, default)
        if values.size > 1:
            raise UserError(
                f"node {self.name}: {field} from {values.min():g} to {values.max():g} found, one value for the layer expected"
            )
        return float(values[0])


def per_channel(what: str, array: NDArray[Any], shape: Shape) -> NDArray[np.float64]:
    """The numbers of a layer, as `[1]` if they are all equal, else as `[C]`.

    Raises:
        UserError: they do not fit the layer, or differ within a channel; `what` begins the message.
    """
    if not array.size:
        raise UserError(f"{what}: no number found")
    if array.min() == array.max():
        return np.array([array.flat[0]], np.float64)
    trimmed = (
        array.reshape(array.shape[array.ndim - len(shape) :]) if array.size == np.prod(array.shape[-len(shape) :]) else array
    )
    if trimmed.shape != shape and trimmed.shape != (shape[0],) + (1,) * (len(shape) - 1):
        raise UserError(f"{what}: shape {array.shape} found, {shape} expected")
    rows = trimmed.reshape(shape[0], -1)
    if (rows.min(1) != rows.max(1)).any():
        raise UserError(f"{what}: differs within a channel, which has no form here; one value per channel or layer expected")
    return rows[:, 0].astype(np.float64)
