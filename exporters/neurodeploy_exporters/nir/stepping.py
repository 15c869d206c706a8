"""The update of a layer of neurons, from the constants that a file gives and a convention."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import NeuronParameters, Reset
from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import Primitive
from neurodeploy_exporters.nir.conventions import Convention

Numbers = NDArray[np.float64]
"""One number, or an array that is broadcast against a sample."""


@dataclass(frozen=True)
class Discrete:
    """`i ← α i + x`, then `v ← λ v + g i + c`, and firing; what comes before the update is `scale · x + shift`.

    Attributes:
        decay: λ.
        threshold: θ; None where it never fires.
        reset: of a layer that fires.
        current_decay: α; None without a synaptic current.
        scale, shift: per channel, one number or `[C]`; 1 and 0 where all of it is in θ.
        late: whether the membrane sees the current of the step before.
    """

    decay: Numbers
    threshold: Numbers | None
    reset: Reset
    current_decay: Numbers | None
    scale: Numbers
    shift: Numbers
    late: bool

    @property
    def uniform(self) -> NeuronParameters | None:
        """The constants of all neurons, where they are the same."""
        if self.threshold is None or self.decay.size > 1 or self.threshold.size > 1:
            return None
        return NeuronParameters(float(self.decay.flat[0]), float(self.threshold.flat[0]), self.reset)


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
        UserError: constants that do not fit the layer, a constant input that differs within a channel, time constants that are
            too short for dt, or a threshold that the potential reaches without input.
    """
    constants = FieldValues(name, node, shape)
    cuba = node.kind in ("CubaLI", "CubaLIF")
    decay = constants.decay("tau_mem" if cuba else "tau", convention)
    resistance, v_leak = constants.get("r"), constants.get("v_leak")
    # without a leak nothing of the input is lost
    share = np.full((1,) * len(shape), convention.dt) if node.kind in ("I", "IF") else 1 - decay
    gain = np.ones((1,) * len(shape)) if node.kind in convention.unscaled else resistance * share
    current_decay = None
    if cuba:
        current_decay = constants.decay("tau_syn", convention)
        gain = gain * (1.0 if "current" in convention.unscaled else constants.get("w_in", 1.0) * (1 - current_decay))
    if not (gain > 0).all():
        raise UserError(f"node {name}: an input gain of {gain.min():g} found, a positive one expected")
    late = cuba and convention.late_current
    if "v_threshold" not in node.fields:
        drive = constants.channels("v_leak", (1 - decay) * v_leak)
        return Discrete(decay, None, "none", current_decay, constants.channels("r", gain), drive, late)
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
    if decay.size == 1 and current_decay is not None and current_decay.size > 1:
        decay = np.broadcast_to(decay, shape)
    if decay.size == 1 and 1 < unit.size == shape[0]:  # a threshold per channel: potentials in units of it
        scale, shift = constants.channels("r", gain / height), constants.channels("v_leak", drive / height)
        return Discrete(decay, _threshold(np.ones(1), convention), convention.reset, current_decay, scale, shift, late)
    shift = constants.channels("v_leak", drive / gain)
    return Discrete(decay, _threshold(unit, convention), convention.reset, current_decay, np.ones(1), shift, late)


def _threshold(value: Numbers, convention: Convention) -> Numbers:
    """`v > θ` with our θ says what the convention's comparison says, in float32."""
    return value if convention.strict else np.nextafter(value.astype(np.float32), np.float32(0)).astype(np.float64)


class FieldValues:
    """Fields of a node, one number or arrays that are broadcast against a sample: `[C, 1, …]` or a number for each neuron."""

    def __init__(self, name: str, node: Primitive, shape: Shape) -> None:
        self.name, self.node, self.shape = name, node, shape

    def get(self, field: str, default: float = 0.0) -> Numbers:
        """A field.

        Raises:
            UserError: it does not fit the layer.
        """
        what, shape = f"node {self.name}: {field}", self.shape
        array: Any = np.asarray(self.node.fields.get(field, np.float64(default)))
        if not array.size:
            raise UserError(f"{what}: no number found")
        if array.min() == array.max():
            return np.full((1,) * len(shape), array.flat[0], np.float64)
        trimmed = fitted(what, array, shape)
        rows = trimmed.reshape(shape[0], -1)
        if (rows.min(1) == rows.max(1)).all():
            return np.asarray(rows[:, 0].astype(np.float64).reshape(-1, *(1,) * (len(shape) - 1)))
        return trimmed.astype(np.float64)

    def channels(self, field: str, values: Numbers) -> Numbers:
        """Numbers as `[1]` or `[C]`.

        Raises:
            UserError: they differ within a channel; `field` is what they come from.
        """
        if values.size == 1 or values.min() == values.max():
            return np.array([values.flat[0]])
        rows = np.broadcast_to(values, self.shape).reshape(self.shape[0], -1)
        if (rows.min(1) != rows.max(1)).any():
            raise UserError(
                f"node {self.name}: {field}: differs within a channel, which has no form here; one value per channel or layer "
                "expected"
            )
        return np.asarray(rows[:, 0])

    def decay(self, field: str, convention: Convention) -> Numbers:
        """λ.

        Raises:
            UserError: a time constant is none, or too short for dt.
        """
        tau = self.get(field, float("inf"))
        if not (tau > 0).all():
            raise UserError(f"node {self.name}: a time constant of {tau.min():g} found, a positive one expected")
        decay = 1 - convention.step / tau if convention.decay == "Euler" else np.exp(-convention.step / tau)
        decay = np.where((decay > -1e-6) & (decay < 0), 0.0, decay)  # tau = dt, but for rounding
        if (decay < 0).any():
            raise UserError(
                f"node {self.name}: a time constant of {tau.min():g} found, shorter than dt = {convention.dt:g}; give another "
                "dt, or another convention"
            )
        return decay


def fitted(what: str, array: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """An array in the shape of a layer, or `[C, 1, …]`.

    Raises:
        UserError: it does not fit the layer; `what` begins the message.
    """
    if array.size == np.prod(array.shape[-len(shape) :]):
        array = array.reshape(array.shape[array.ndim - len(shape) :])
    if array.shape not in (shape, (shape[0],) + (1,) * (len(shape) - 1)):
        raise UserError(f"{what}: shape {array.shape} found, {shape} expected")
    return array


def per_channel(what: str, array: NDArray[Any], shape: Shape) -> NDArray[np.float64]:
    """The numbers of a layer, as `[1]` if they are all equal, else as `[C]`.

    Raises:
        UserError: they do not fit the layer, or differ within a channel; `what` begins the message.
    """
    if not array.size:
        raise UserError(f"{what}: no number found")
    if array.min() == array.max():
        return np.array([array.flat[0]], np.float64)
    rows = fitted(what, array, shape).reshape(shape[0], -1)
    if (rows.min(1) != rows.max(1)).any():
        raise UserError(f"{what}: differs within a channel, which has no form here; one value per channel or layer expected")
    return rows[:, 0].astype(np.float64)
