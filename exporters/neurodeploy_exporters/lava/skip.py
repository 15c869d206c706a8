"""Connections that a `.net` file cannot hold: from a block of the chain past the next one."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.circuit import Synapse
from neurodeploy_exporters.lava.connection import Convolution, Matrix
from neurodeploy_exporters.lava.values import Integers, Shape


@dataclass(frozen=True, eq=False, kw_only=True)
class Skip:
    """One more synapse between two blocks of a chain, whose sums are added to those of the block's own.

    Attributes:
        from_layer, to_layer: indices of blocks, the second larger; from −1 for the network's input.
        weight: `[C_out, C_in / groups, kH, kW]` of a convolution, or `[N_out, N_in]`.
        stride, padding, dilation, groups: of a convolution, as in `Convolution`.
        delay: a spike of step t arrives in step t + 1 + delay; `to_layer − from_layer − 1` lines it up with the chain.
    """

    from_layer: int
    to_layer: int
    weight: Integers
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    delay: int = 0

    def synapse(self) -> Synapse:
        """The same as a synapse of a circuit whose populations are the blocks.

        Raises:
            UserError: the weight or the geometry is wrong.
        """
        connection: Convolution | Matrix
        if self.weight.ndim == 4:
            connection = Convolution(
                weight=self.weight, stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
            )
        else:
            connection = Matrix(weight=self.weight)
        return Synapse(source=self.from_layer, target=self.to_layer, connection=connection, delay=self.delay)


def read_skip(given: Mapping[str, Any]) -> Skip:
    """A skip from a mapping with its fields, such as one read from JSON: nested lists of whole numbers are its arrays.

    Raises:
        UserError: a field is missing, unknown, or of another kind.
    """
    known = [field.name for field in fields(Skip)]
    if unknown := set(given) - set(known):
        raise UserError(f"{', '.join(sorted(map(str, unknown)))} found; {', '.join(known)} expected")
    if missing := {"from_layer", "to_layer", "weight"} - set(given):
        raise UserError(f"{', '.join(sorted(missing))} missing")
    values: dict[str, Any] = {name: _whole(name, value) for name, value in given.items()}
    for name in ("stride", "padding", "dilation"):
        if name in values:
            values[name] = tuple(values[name].ravel().tolist())
    for name in ("from_layer", "to_layer", "groups", "delay"):
        if name in values:
            if values[name].ndim:
                raise UserError(f"{name}: shape {values[name].shape} found, one number expected")
            values[name] = int(values[name])
    return Skip(**values)


def _whole(name: str, value: Any) -> Integers:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty((), object)  # rows of different lengths
    if array.dtype.kind not in "iu":
        raise UserError(f"{name}: {array.dtype} found, whole numbers expected")
    return array.astype(np.int64)
