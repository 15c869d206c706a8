"""What fired and what was computed while a model ran, layer by layer, as counts."""

from neurodeploy_energy.count.layer import InputKinds, LayerRow, MemoryAccesses, Series, SynapseGeometry
from neurodeploy_energy.count.recognition import register_neuron
from neurodeploy_energy.count.running import Counted, count, record

__all__ = [
    "Counted",
    "InputKinds",
    "LayerRow",
    "MemoryAccesses",
    "Series",
    "SynapseGeometry",
    "count",
    "record",
    "register_neuron",
]
