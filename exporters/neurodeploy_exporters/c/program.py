"""A network as a C program: one file for encoder and spiking body, one for the head, and their header."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph
from neurodeploy.graph.ops import Node
from neurodeploy_exporters.c.deployed import steps_vary
from neurodeploy_exporters.c.file import CFile, StepCount
from neurodeploy_exporters.c.tables import Stored
from neurodeploy_exporters.c.tensors import CTensor, CType


@dataclass(frozen=True, eq=False)
class CInput:
    """What a sample goes through before it is the integers that C takes.

    Attributes:
        nodes: Input, and what normalises and rounds it.
        tensor: of the integers.
        timed: a sample is a sequence of such.
    """

    nodes: tuple[Node, ...]
    tensor: CTensor
    timed: bool

    def integers(self, inputs: NDArray[np.float32]) -> NDArray[np.generic]:
        """Samples `[N, *shape]` as C takes them, `[N, elements]`."""
        values = inputs
        for node in self.nodes[1:]:
            values = node.compute(values)
        return self.tensor.encoded(values)


@dataclass(frozen=True, eq=False)
class CProgram:
    """A network in C.

    Attributes:
        graph: that it computes.
        steps: T, between two resets.
        entrance: see there.
        units: "body" if there are spikes, and "head".
        spiking: spiking layer → the tensor that traces hand out.
        answer: the tensor of the logits.
        divisor: of the logits; None if they are no mean, or one whose number of steps is in their unit.
        files: name → text.
    """

    graph: Graph
    steps: int
    entrance: CInput
    units: tuple[CFile, ...]
    spiking: Mapping[str, CTensor]
    answer: CTensor
    divisor: StepCount | None
    files: Mapping[str, str]

    @property
    def stored(self) -> dict[str, Stored]:
        """Where the arrays of nodes are."""
        return {key: value for unit in self.units for key, value in unit.stored.items()}

    @property
    def crossing(self) -> tuple[CTensor, ...]:
        """What the head reads of the body."""
        if len(self.units) == 1:
            return ()
        return _by_buffer([self.units[0].tensors[name] for name in self.units[0].leaving])

    @property
    def state_bytes(self) -> int:
        """RAM of one context."""
        crossing = sum(
            tensor.elements * (4 if tensor.type == "bits" else np.dtype(_numpy(tensor.type)).itemsize)
            for tensor in self.crossing
        )
        return crossing + sum(unit.ram + 4 for unit in self.units)

    @property
    def steps_vary(self) -> bool:
        """Whether samples are sequences of up to `steps` inputs."""
        return steps_vary(self.graph)

    def logits_in_order(self, raw: NDArray[np.generic], steps: int) -> NDArray[np.float32]:
        """Of `[N, K]` as C gives them after so many steps: by class, whatever their order inside."""
        made = raw.astype(np.float32) * np.float32(2.0**-self.answer.grid.exponent)
        return made if self.divisor is None else made / np.float32(self.divisor.of(steps))


def _numpy(type: CType) -> str:
    return {"bits": "uint32", "float": "float32"}.get(type, type.removesuffix("_t"))


def _by_buffer(tensors: list[CTensor]) -> tuple[CTensor, ...]:
    """Those that have memory of their own."""
    found: dict[str, CTensor] = {}
    for tensor in tensors:
        found.setdefault(tensor.buffer, tensor)
    return tuple(found.values())
