"""Which cores of a Loihi chip a circuit takes, what each of them holds, and what does not fit."""

from neurodeploy_exporters.lava.mapping.chip import Chip, load, names
from neurodeploy_exporters.lava.mapping.mapper import map_circuit
from neurodeploy_exporters.lava.mapping.result import Mapping

__all__ = ["Chip", "Mapping", "load", "map_circuit", "names"]
