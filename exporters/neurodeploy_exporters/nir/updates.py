"""Neurons of frameworks that are none of NIR's, operation by operation in the order of their own code.

Read in sinabs 3.1.3 (`layers/functional/lif.py`, `activation`), snntorch 1.0.0 (`_neurons/leaky.py` and `synaptic.py`) and spyx
1.0.0 (`nn.py`). Sums and products are rounded, so their order is part of what fires.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from neurodeploy.dynamics.updates import Operand, Program, Update
from neurodeploy.graph.ops import Shape, Weights
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir.content import Primitive
from neurodeploy_exporters.nir.conventions import Convention
from neurodeploy_exporters.nir.stepping import FieldValues, Numbers

_INPUT: Operand = ("input", 0)
_FIRST: Operand = ("state", 0)
_SECOND: Operand = ("state", 1)
_UNIT = 1e-3  # how far from 1 a gain may be that its framework takes for 1


class _Own:
    """One layer's update in the making."""

    def __init__(self, name: str, node: Primitive, shape: Shape, convention: Convention) -> None:
        self.constants = FieldValues(name, node, shape)
        self.name, self.node, self.convention = name, node, convention
        self.arrays: list[Weights] = []
        self.step = Program()
        self.back = False

    def value(self, numbers: Any) -> Operand:
        """A constant: a number where all neurons have the same."""
        array = np.asarray(numbers, np.float32)
        if array.size == 1 or array.min() == array.max():
            return "number", float(array.flat[0])
        self.arrays.append(np.ascontiguousarray(array))
        return "array", len(self.arrays) - 1

    def decay(self, field: str) -> Numbers:
        """λ; 1 without a leak."""
        return self.constants.decay(field, self.convention)

    def threshold(self) -> Numbers:
        threshold = self.constants.get("v_threshold")
        if not (threshold > 0).all():
            raise UserError(f"node {self.name}: v_threshold of {threshold.min():g} found, a positive one expected")
        return threshold

    def refuse_other_rest(self) -> None:
        """The framework has neither of the two constants."""
        for field in ("v_leak", "v_reset"):
            value = self.constants.get(field)
            if value.any():
                raise UserError(
                    f"node {self.name}: {field} of {value.max():g} found, which {self.convention.name} does not have; read the "
                    "file by another convention"
                )

    def refuse_other_gain(self, gain: Numbers) -> None:
        """The framework adds inputs as they are, and its writer says so."""
        if (np.abs(gain - 1) > _UNIT).any():
            raise UserError(
                f"node {self.name}: an input gain of {gain.flat[0]:g} found, which {self.convention.name} does not write; read "
                "the file by another convention, such as nir, or give its dt"
            )


def own_update(
    name: str, node: Primitive, shape: Shape, convention: Convention, *, back: bool = False
) -> tuple[Update, list[Weights]]:
    """The update of a firing layer as its framework computes it, and its constants.

    Args:
        name: of the node, for messages.
        node: an IF, LIF or CubaLIF.
        shape: of the layer.
        convention: whose `update` says which framework.
        back: what the layer fired in the step before comes back to it, as a second input.

    Raises:
        UserError: the framework has no such neurons.
    """
    if back and convention.update != "snntorch":
        raise UserError(
            f"node {name}: its spikes come back to it, and how {convention.name} then updates it is not known here; read it "
            "with another convention"
        )
    layer = _Own(name, node, shape, convention)
    layer.back = back
    layer.refuse_other_rest()
    update = _UPDATES[convention.update](layer)
    return update, layer.arrays


def _sinabs(layer: _Own) -> Update:
    """`h = α v + x`, or `α v + (1 − α) x`; spikes; the reset; and then the lower bound."""
    convention, step, v, x = layer.convention, layer.step, _FIRST, _INPUT
    if layer.node.kind == "CubaLIF":
        raise UserError(f"node {layer.name}: a CubaLIF found, which sinabs does not write; read the file by another convention")
    decay, threshold = np.asarray(layer.decay("tau"), np.float32), layer.value(layer.threshold())
    h: Operand = v
    if layer.node.kind == "LIF":
        current: Operand = x
        if "LIF" not in convention.unscaled:
            current = step("mul", layer.value(np.float32(1) - decay), current)
        h = step("add", step("mul", layer.value(decay), h), current)
    else:
        h = step("add", h, x)
    if convention.many:
        spikes = step("mul", step("gt", h, 0.0), step("trunc", step("div", h, threshold)))
    else:
        spikes = step("ge", step("sub", h, threshold), 0.0)
    if convention.reset == "soft":
        after = step("sub", h, step("mul", spikes, threshold))
    else:
        after = step("mul", h, step("eq", spikes, 0.0))
    if convention.floor is not None:
        after = step("add", step("maximum", step("sub", after, convention.floor), 0.0), convention.floor)
    return step.update(spikes, (0.0, after))


def _snntorch(layer: _Own) -> Update:
    """Leaky and Synaptic, RLeaky and RSynaptic: the reset that is due comes with the step, one that is not late after it."""
    convention, step, x = layer.convention, layer.step, _INPUT
    cuba = layer.node.kind == "CubaLIF"
    if layer.node.kind == "IF":
        raise UserError(f"node {layer.name}: an IF found, which snnTorch does not write; read the file by another convention")
    decay = layer.decay("tau_mem" if cuba else "tau")
    layer.refuse_other_gain(layer.constants.get("r") * (1 - decay))
    beta, threshold = layer.value(decay), layer.value(layer.threshold())
    states: list[tuple[Operand | float, Operand | float]] = []
    charge: Operand = x

    def charged(kept: Operand, charge: Operand) -> Operand:
        total = step("add", kept, charge)
        return step("add", total, ("input", 1)) if layer.back else total

    if cuba:
        current_decay = layer.decay("tau_syn")
        layer.refuse_other_gain(layer.constants.get("w_in", 1.0) * (1 - current_decay))
        charge = charged(step("mul", layer.value(current_decay), ("state", 0)), charge)
        states.append((0.0, charge))
    v: Operand = ("state", len(states))
    due = step("gt", step("sub", v, threshold), 0.0)
    kept = v
    if convention.reset == "hard" and not cuba and not layer.back:
        kept = step("mul", step("sub", 1.0, due), v)
    kept = step("mul", beta, kept)
    h = step("add", kept, charge) if cuba else charged(kept, charge)
    if convention.reset == "soft":
        h = step("sub", h, step("mul", due, threshold))
    elif cuba or layer.back:
        h = step("sub", h, step("mul", h, due))
    fired = step("gt", step("sub", h, threshold), 0.0)
    after = h
    # RSynaptic computes a reset at once, and keeps it for itself: it takes it from a variable that it does not answer with
    if not convention.late_reset and not (cuba and layer.back):
        rest = step("sub", fired, due)
        after = step("sub", h, step("mul", rest, threshold if convention.reset == "soft" else h))
    states.append((0.0, after))
    return step.update(fired, *states, inputs=1 + layer.back)


def _spyx(layer: _Own) -> Update:
    """Spikes are those of the potential before the step; θ is taken from it then."""
    step, x, v, current = layer.step, _INPUT, _FIRST, _SECOND
    kind, threshold = layer.node.kind, layer.value(layer.threshold())
    if kind == "CubaLIF":
        fired = step("gt", step("sub", v, threshold), 0.0)
        lower = step("sub", v, step("mul", fired, threshold))
        charge = step("add", step("mul", layer.value(layer.decay("tau_syn")), current), x)
        after = step("add", step("mul", layer.value(layer.decay("tau_mem")), lower), charge)
        return step.update(fired, (0.0, after), (0.0, charge))
    fired = step("gt", step("sub", v, threshold), 0.0)
    kept = v if kind == "IF" else step("mul", layer.value(layer.decay("tau")), v)
    after = step("sub", step("add", kept, x), step("mul", fired, threshold))
    return step.update(fired, (0.0, after))


_UPDATES: dict[str, Callable[[_Own], Update]] = {"sinabs": _sinabs, "snntorch": _snntorch, "spyx": _spyx}
