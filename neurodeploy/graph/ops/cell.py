"""Neurons of any kind: an update of somebody else's, operation by operation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from neurodeploy.dynamics.forms import constants_of
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.updates import Operand, Program, Update, initial_states, update_step
from neurodeploy.graph.ops.linear import LinearNode
from neurodeploy.graph.ops.operation import EXACT, Array, Call, Nodes, Range, Recurrent, Shape, Spiking, Weights, traced
from neurodeploy.graph.ops.synapse import array
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics.cells import Cell
    from neurodeploy.dynamics.layers import LateResetNeuron, PrechargedNeuron

Own = TypeVar("Own", bound="Updated")


@dataclass(frozen=True, eq=False, kw_only=True)
class Updated(Recurrent):
    """What cells and membranes share.

    Attributes:
        update: of one step; its inputs are those of the node, and with `recurrent` one more behind them.
        arrays: constants of the update, of shapes that are broadcast against one sample.
        recurrent: `[N, N]`: what the layer answered in the step before, flattened, comes back through these weights as the last
            input; zeros come back in the first step.
        recurrent_bias: `[N]`, added to that in every step.

    Raises:
        UserError: the update needs other inputs or arrays.
    """

    variadic: ClassVar[bool] = True
    update: Update
    arrays: tuple[Weights, ...] = ()
    recurrent: Weights | None = None
    recurrent_bias: Weights | None = None

    def __post_init__(self) -> None:
        given = len(self.inputs) + (self.recurrent is not None)
        if self.update.inputs != given:
            raise UserError(f"node {self.name}: an update of {self.update.inputs} inputs found, {given} are there")
        if self.update.arrays > len(self.arrays):
            raise UserError(
                f"node {self.name}: an update that needs {self.update.arrays} arrays found, {len(self.arrays)} there"
            )

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        shape = inputs[0]
        if any(other != shape for other in inputs):
            raise UserError(f"node {self.name}: inputs of the shapes {', '.join(map(str, inputs))} found, equal ones expected")
        for one in self.arrays:
            if len(one.shape) > len(shape) or np.broadcast_shapes(one.shape, shape) != shape:
                raise UserError(f"node {self.name}: a constant {one.shape} found, one that fits {shape} expected")
        size = int(np.prod(shape))
        if self.recurrent is not None and self.recurrent.shape != (size, size):
            raise UserError(f"node {self.name}: recurrent weights {self.recurrent.shape} found, {(size, size)} expected")
        if self.recurrent_bias is not None and (self.recurrent is None or self.recurrent_bias.shape != (size,)):
            raise UserError(f"node {self.name}: a recurrent bias {self.recurrent_bias.shape} found, ({size},) expected")
        return shape

    def is_timed(self, inputs: Sequence[bool]) -> bool:
        for one in inputs:
            self._must_read([one], timed=True)
        return True

    def compute(self, *inputs: Array) -> Array:
        made = np.zeros_like(inputs[0])
        states = initial_states(self.update, made[0], self.arrays)
        for t in range(len(made)):
            currents = [x[t] for x in inputs]
            if self.recurrent is not None:
                before = (made[t - 1] if t else np.zeros_like(made[0])).reshape(made.shape[1], -1)
                back = before @ self.recurrent.T
                back = back if self.recurrent_bias is None else back + self.recurrent_bias
                currents.append(back.reshape(made[0].shape))
            made[t], states = update_step(self.update, currents, states, self.arrays)
        return made

    def rounded(self: Own) -> Own:
        """With recurrent weights and biases on the grid, as those of `Weighted.rounded`; itself without recurrence.

        Raises:
            UserError: a weight is not finite.
        """
        if self.recurrent is None:
            return self
        made = self._returning(self.recurrent).rounded()
        return replace(self, recurrent=made.weight, recurrent_bias=made.bias)

    def _returning(self, weight: Weights) -> LinearNode:
        """The synapse through which its answers come back."""
        return LinearNode(name=self.name, inputs=(self.name,), weight=weight, bias=self.recurrent_bias)

    def _check_exact(self, largest: int | None) -> None:
        """Whether each runtime computes the same bits, if the inputs are the same."""
        if not self.update.is_exact:
            raise UserError(
                f"node {self.name}: an update with an exponential or the like found, which every runtime rounds in a way "
                "of its own; export without the exact grid"
            )
        if self.recurrent is None:
            return
        sums = None if largest is None else self._returning(self.recurrent).exact_range([Range(0, largest)]).largest
        if sums is None or sums > EXACT:
            raise UserError(
                f"node {self.name}: recurrent sums of values other than a few spikes found, which depend on their order; "
                "export without the exact grid"
            )

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics.cells import Cell

        spiking = isinstance(self, CellNode)
        largest = self.largest if isinstance(self, CellNode) else None
        return Cell(self.update, self.arrays, self.recurrent, self.recurrent_bias, spiking=spiking, largest=largest)


@dataclass(frozen=True, eq=False, kw_only=True)
class CellNode(Updated, Spiking):
    """A layer of neurons whose update is somebody else's (`neurodeploy.dynamics.updates`): the float operations of a step.

    Its answer is 0 or 1, or the number of spikes in the step.

    Attributes:
        largest: the most spikes that a neuron can fire in a step; None if there is no bound.
    """

    largest: int | None = 1

    @property
    def constants(self) -> NeuronParameters:
        """Those of the standard neuron that it is, in its own unit; of an IF neuron where it is none."""
        return constants_of(self.update, self.arrays)

    def exact_range(self, inputs: Sequence[Range]) -> Range | None:  # noqa: ARG002
        self._check_exact(self.largest)
        return None if self.largest is None else Range(0, self.largest)


@dataclass(frozen=True, eq=False, kw_only=True)
class MembraneNode(Updated):
    """Something that goes through time by an update, and answers other values than spikes: a potential that is read out."""

    def exact_range(self, inputs: Sequence[Range]) -> None:  # noqa: ARG002
        """None: its values can be any float."""
        self._check_exact(None)


@traced("neurodeploy.dynamics.cells.Cell")
def _from_torch(layer: "Cell", call: Call) -> Nodes:
    arrays = tuple(map(array, layer.arrays))
    weight, bias = (None if one is None else array(one) for one in (layer.recurrent, layer.recurrent_bias))
    both: dict[str, Any] = {"name": call.name, "inputs": call.inputs, "update": layer.update, "arrays": arrays}
    both |= {"recurrent": weight, "recurrent_bias": bias}
    return [CellNode(largest=layer.largest, **both) if layer.spiking else MembraneNode(**both)]


@traced("neurodeploy.dynamics.layers.LateResetNeuron")
def _resets_late(layer: "LateResetNeuron", call: Call) -> Nodes:
    return [CellNode(name=call.name, inputs=call.inputs, update=layer.update)]


@traced("neurodeploy.dynamics.layers.PrechargedNeuron")
def _precharged(layer: "PrechargedNeuron", call: Call) -> Nodes:
    """The update of `neuron_step`, from other potentials on."""
    constants, initial, step = layer.constants, array(layer.initial), Program()
    left: Operand = ("state", 0)
    if constants.decay != 1:
        left = step("mul", constants.decay, left)
    h = step("add", left, ("input", 0))
    fired = step("gt", h, constants.threshold)
    after = h
    if constants.reset == "hard":
        after = step("where", fired, 0.0, h)
    elif constants.reset == "soft":
        after = step("sub", h, step("mul", constants.threshold, fired))
    shaped = initial.reshape(-1, *(1,) * (len(call.shapes[0]) - 1))
    return [CellNode(name=call.name, inputs=call.inputs, update=step.update(fired, (("array", 0), after)), arrays=(shaped,))]
