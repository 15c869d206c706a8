"""From a circuit to cores.

Populations are divided from the last to the first: how many output axons a neuron needs depends on the cores that hold what it
sends to, while how a population is divided changes nothing for those after it. Cores are not shared between populations.

How near this comes for Loihi 2: PilotNet-LIF took 74 cores in lava-dl's tutorial `netx/pilotnet_snn`, and takes 47 here. In
both, neurons fill the cores of the convolutions. But Lava's compiler divides images only along x, into widths that are powers
of two (13, 25, 13, 3, 3 and 2 cores; here 10, 20, 7, 2, 2 and 1), and gives the first dense layer 12 cores, here 2: it stores
weights of 0 too, and more bits for each. So the number here is what the resources allow; a compiler may take more.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.mapping.chip import Chip
from neurodeploy_exporters.lava.mapping.partition import Core, divide
from neurodeploy_exporters.lava.mapping.usage import Demand, union
from neurodeploy_exporters.lava.values import Integers

Placement = Sequence[tuple[Core, ...] | None]
"""The cores of every population; None for one of which a single neuron exceeds a core."""


@dataclass
class Placer:
    """Divides circuits among cores of one kind, and remembers how: of circuits that share populations, each is divided once.

    Attributes:
        chip: the kind.
    """

    chip: Chip
    _known: dict[Hashable, tuple[Demand, tuple[Core, ...] | None]] = field(default_factory=dict)

    def place(self, circuit: Circuit) -> Placement:
        """Divide every population into the fewest cores."""
        fan_out = _host_axons(circuit)
        found: list[tuple[Core, ...] | None] = []
        for index in reversed(range(len(circuit.populations))):
            # populations and synapses are equal only to themselves, and a synapse's source cannot change without it
            key = (circuit.populations[index], circuit.into(index), fan_out[index].tobytes())
            if key not in self._known:
                demand = Demand(circuit, index, self.chip)
                self._known[key] = demand, divide(demand, fan_out[index], self.chip)
            demand, cores = self._known[key]
            found.append(cores)
            _send(demand, index, cores or (), fan_out)
        return found[::-1]


def required_axons(circuit: Circuit, chip: Chip, placement: Placement) -> list[Integers]:
    """Of every neuron of every population, the output axons that it needs for other populations and the host."""
    fan_out = _host_axons(circuit)
    for index, cores in enumerate(placement):
        _send(Demand(circuit, index, chip), index, cores or (), fan_out)
    return fan_out


def _host_axons(circuit: Circuit) -> list[Integers]:
    """1 where the population sends to no other, for then the host reads it."""
    senders = {synapse.source for synapse in circuit.synapses}
    return [np.full(p.shape, int(index not in senders), np.int64) for index, p in enumerate(circuit.populations)]


def _send(demand: Demand, index: int, cores: Sequence[Core], fan_out: list[Integers]) -> None:
    """Add to `fan_out` one axon for every core of population `index`, at each earlier neuron that reaches it."""
    for core in cores:
        for source, reaches in demand.reached(core.block).items():
            if source != index:
                box, mask = union(reaches)
                fan_out[source][box] += mask
