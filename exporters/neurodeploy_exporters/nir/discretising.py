"""From the constants of a NIR neuron to those of one discrete update, under a convention."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import Primitive
from neurodeploy_exporters.nir.conventions import Convention


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
    if node.kind in ("I", "IF"):
        gain = np.ones(1) if node.kind in convention.unscaled else resistance * convention.dt
    elif node.kind in convention.unscaled:
        gain = np.ones(1)
    else:
        gain = resistance * share
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
