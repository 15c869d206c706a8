"""Normalisation of samples, where the network takes them as they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neurodeploy.graph.ops.operation import Array, Call, Nodes, Operation, Shape, Weights, traced
from neurodeploy.graph.ops.synapse import array
from neurodeploy.io.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from neurodeploy.dynamics import encodings


@dataclass(frozen=True, eq=False, kw_only=True)
class NormalizeNode(Operation):
    """`y = (x − mean) / std` per channel, `mean` and `std` of shape `[C]`, or `[1]` for all channels alike.

    A difference and a quotient, as data are normalised before a training: the values are those of the training, bit for bit,
    which a factor and an offset would not give.
    """

    mean: Weights
    std: Weights

    def output_shape(self, inputs: Sequence[Shape]) -> Shape:
        (shape,), found = inputs, (self.mean.shape, self.std.shape)
        if found not in (((shape[0],),) * 2, ((1,),) * 2):
            raise UserError(f"node {self.name}: mean {found[0]} and std {found[1]} found, ({shape[0]},) of both expected")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise UserError(f"node {self.name}: finite means, and standard deviations above 0, expected in float32")
        return shape

    def compute(self, *inputs: Array) -> Array:
        channels = (1, -1, *(1,) * (inputs[0].ndim - 2))
        return (inputs[0] - self.mean.reshape(channels)) / self.std.reshape(channels)

    def layer(self) -> "nn.Module":
        from neurodeploy.dynamics.encodings import Normalize

        return Normalize(self.mean.tolist(), self.std.tolist())


@traced("neurodeploy.dynamics.encodings.Normalize")
def _from_torch(layer: "encodings.Normalize", call: Call) -> Nodes:
    return [NormalizeNode(name=call.name, inputs=call.inputs, mean=array(layer.mean), std=array(layer.std))]
