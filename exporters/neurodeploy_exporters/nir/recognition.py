"""Who wrote a file, guessed by its numbers: NIR has no field for it."""

from collections.abc import Callable

import numpy as np

from neurodeploy_exporters.nir.content import NEURONS, Primitive
from neurodeploy_exporters.nir.conventions import CONVENTIONS


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
            return _double(node) and not _of_single(node) and _unit_gains(node, CONVENTIONS["spikingjelly"].dt)
    return False


def _snntorch(node: Primitive) -> bool:
    dt = CONVENTIONS["snntorch"].dt
    if _double(node) and not _of_single(node):
        return False
    if node.kind == "LIF":
        return _close(_value(node, "r"), _value(node, "tau") / dt)
    return node.kind == "CubaLIF" and _unit_gains(node, dt)


def _of_single(node: Primitive) -> bool:
    """Time constants of double precision whose decays are float32 numbers, and not all of a few digits.

    Those are of snnTorch's recurrent layers; SpikingJelly's decays are Python's own numbers.
    """
    dt, long = CONVENTIONS["snntorch"].dt, False
    for name in ("tau", "tau_mem", "tau_syn"):
        if name in node.fields:
            tau = _value(node, name)
            if not tau > 0:
                return False
            decay = 1 - dt / tau
            if not abs(decay - float(np.float32(decay))) < 1e-13:
                return False
            long |= abs(decay * 4096 - round(decay * 4096)) > 1e-6
    return long


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


def _spyx(node: Primitive) -> bool:
    """R is the decay itself, of time constants that count steps; it writes no reset."""
    if node.kind not in ("LIF", "CubaLIF") or ("v_reset" in node.fields and _value(node, "v_reset") != 0):
        return False
    tau = _value(node, "tau" if node.kind == "LIF" else "tau_mem")
    return tau >= 1 and _close(_value(node, "r"), 1 - 1 / tau)


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
    "snntorch": ("neurons as snnTorch writes them: decays of single precision, R = tau/dt with dt = 0.0001 s", _snntorch),
    "spyx": ("neurons as spyx writes them: R = 1 - 1/tau, time constants in steps", _spyx),
    "sinabs": ("neurons as sinabs writes them: R = 1, time constants in steps", _sinabs),
    "norse": ("neurons as Norse writes them: R = 1, time constants below one time step of 0.001 s", _norse),
}
