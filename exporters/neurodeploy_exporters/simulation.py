"""What a simulator of a chip's architecture is asked for and answers: a program of somebody else's, run on a bundle's body."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Simulator:
    """A program, and how long it may take.

    Attributes:
        name: as options name it: "sana-fe".
        python: of the environment that has it; None: where the program's own variable of the environment says.
        seconds: that it may run, at most.
    """

    name: str
    python: Path | None = None
    seconds: float = 1800.0


@dataclass(frozen=True)
class ChipPhase:
    """What a chip spends per sample, as simulated; energies in µJ, times in µs, the rest are counts. Means over the samples.

    Attributes:
        steps: time steps that a sample takes.
        time_us: of these; of a sample alone its latency.
        longest_us: the largest of any sample.
        total_uj: of which the next three are parts.
        synapse_uj: of synapses.
        neuron_uj: of neurons' updates and spikes.
        network_uj: of messages and their hops.
        synaptic_events, messages, hops, updates: that were simulated; updates are of neurons that were active.
        input_messages: of the messages, those that brought the input.
    """

    steps: int
    time_us: float
    longest_us: float
    total_uj: float
    synapse_uj: float
    neuron_uj: float
    network_uj: float
    synaptic_events: float
    messages: float
    hops: float
    updates: float
    input_messages: float


@dataclass(frozen=True)
class SimulatedSpikes:
    """Spikes of a layer, all samples together.

    Attributes:
        layer: its name.
        ours: by the fixed-point simulator that the bundle is verified with.
        simulated: by the architecture simulator.
        differing: neurons and steps in which one fires and the other does not.
    """

    layer: str
    ours: int
    simulated: int
    differing: int


@dataclass(frozen=True)
class ChipSimulation:
    """A body on a simulated chip.

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
    samples: int
    steps: int
    cores: int
    input_cores: int
    tiles: int
    chips: int
    alone: ChipPhase
    stream: ChipPhase | None
    layers: tuple[SimulatedSpikes, ...]
    assumptions: tuple[str, ...]
