"""Currents and potentials of a layer, which are inner tensors of an exported model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from neurodeploy_exporters.bundle.states import Sums, sums_of_layer
from neurodeploy_exporters.onnx.recurrence import DOMAIN


@dataclass(frozen=True)
class Watched:
    """Where a layer of IF or LIF neurons has its states.

    Attributes:
        layer: its name.
        current: tensor of its input, `[T, B, …]`.
        potential: tensor of its potential after the last step, `[B, …]`.
        negative: whether that tensor holds −v.
    """

    layer: str
    current: str
    potential: str
    negative: bool

    def sums(self, tensors: Mapping[str, NDArray[Any]]) -> Sums:
        """The entries of the layer, of the tensors that were asked for."""
        potential = tensors[self.potential]
        return sums_of_layer(self.layer, tensors[self.current], np.negative(potential) if self.negative else potential)


def watched(model: onnx.ModelProto, layers: Sequence[str]) -> list[Watched]:
    """Those of the layers whose states a model has as tensors."""
    found = []
    for op in model.graph.node:
        scan = op.op_type == "Scan" and op.domain == ""
        call = op.op_type.startswith("LIF_") and op.domain == DOMAIN
        if not (scan or call) or len(op.input) != 2 or len(op.output) != 2:
            continue
        state, current = (op.output[0], op.input[1]) if scan else (op.output[1], op.input[0])
        layer = state.removesuffix(".negative").removesuffix(".v")
        if layer in layers and state != layer:
            found.append(Watched(layer, current, state, _is_negative(op)))
    return found


def _is_negative(op: onnx.NodeProto) -> bool:
    """The hard reset goes by the negative potential (see `recurrence.neuron_function`)."""
    inside = (member.op_type for one in op.attribute if one.HasField("g") for member in one.g.node)
    return "ThresholdedRelu" in inside or op.op_type.startswith("LIF_hard")
