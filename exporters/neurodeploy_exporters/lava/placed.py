"""A population of a quantised body: its integers, and its place in the order of computation and in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from neurodeploy_exporters.lava.layers import CubaNeuron
from neurodeploy_exporters.lava.rounding import Rounded
from neurodeploy_exporters.lava.wiring import Afferent, Readout, Stage


@dataclass(frozen=True, eq=False)
class Placed:
    """A stage or readout with its integers and its place in time."""

    stage: Stage | Readout
    rounded: Rounded
    neuron: CubaNeuron
    depth: int
    delays: tuple[int, ...]
    index: int

    @property
    def key(self) -> str:
        return f"L{self.index}_{'Dense' if len(self.stage.shape) == 1 else 'Conv'}"

    @property
    def afferents(self) -> Iterator[tuple[Afferent, Any, int, int]]:
        """Afferent, integer weight, parallel synapses, delay."""
        return zip(self.stage.afferents, self.rounded.weights, self.rounded.parallel, self.delays, strict=True)
