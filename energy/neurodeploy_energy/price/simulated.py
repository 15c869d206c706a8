"""What a simulator of a chip's architecture says that a network's body takes on it: a rung of its own, in no total.

The simulator is a program of somebody else's. Its energies are of the chip's part alone, and of operations alone.
"""

from dataclasses import dataclass

from neurodeploy_energy.declared import Count, Declared, Natural, Positive


@dataclass(frozen=True)
class SimulatedPhase(Declared):
    """Means per sample; energies in µJ, times in µs, the rest are counts.

    Attributes:
        steps: time steps that a sample takes.
        time_us: of these; of a sample alone its latency.
        longest_us: the largest of any sample.
        total_uj: of which the next three are parts.
        synapse_uj, neuron_uj, network_uj: of synapses; of neurons' updates and spikes; of messages and their hops.
        synaptic_events, messages, hops, updates: that were simulated; updates are of neurons that were active.
        input_messages: of the messages, those that brought the input.
    """

    steps: Positive
    time_us: Count
    longest_us: Count
    total_uj: Count
    synapse_uj: Count
    neuron_uj: Count
    network_uj: Count
    synaptic_events: Count
    messages: Count
    hops: Count
    updates: Count
    input_messages: Count


@dataclass(frozen=True)
class SpikeAgreement(Declared):
    """Spikes of a layer, all samples together.

    Attributes:
        layer: its name.
        ours: by the simulator that the network is verified with.
        simulated: by the architecture simulator.
        differing: neurons and steps in which one fires and the other does not.
    """

    layer: str
    ours: Natural
    simulated: Natural
    differing: Natural


@dataclass(frozen=True)
class Simulation(Declared):
    """A network's body on a simulated chip.

    Attributes:
        simulator, version: the program.
        source: publication and file that its constants come from.
        chip: that it simulates, for people.
        samples, steps: that ran, each of T steps.
        cores, input_cores, tiles, chips: that are taken; the cores of the input beside the others.
        alone: every sample on a chip that has seen nothing before; its time is the latency.
        stream: the samples one after the other without a gap; None for a network that cannot run so.
        layers: spikes of the stream, or of the samples alone where there is none.
        assumptions: sentences.
    """

    simulator: str
    version: str
    source: str
    chip: str
    samples: Positive
    steps: Positive
    cores: Natural
    input_cores: Natural
    tiles: Natural
    chips: Natural
    alone: SimulatedPhase
    stream: SimulatedPhase | None
    layers: tuple[SpikeAgreement, ...]
    assumptions: tuple[str, ...]

    @property
    def spikes(self) -> tuple[int, int, int]:
        """Ours, the simulator's, and those that differ, over all layers."""
        return (
            sum(layer.ours for layer in self.layers),
            sum(layer.simulated for layer in self.layers),
            sum(layer.differing for layer in self.layers),
        )

    def __str__(self) -> str:
        energy = self.alone if self.stream is None else self.stream
        how = "every sample alone" if self.stream is None else "in a stream"
        ours, theirs, differing = self.spikes
        agree = "all spikes as ours" if not differing else f"{differing:,} of {ours:,} spikes differ ({theirs:,} there)"
        return (
            f"{self.simulator} {self.version}, {self.chip}: {energy.total_uj:,.4g} µJ per sample {how}, latency "
            f"{self.alone.time_us:,.4g} µs, {agree}"
        )
