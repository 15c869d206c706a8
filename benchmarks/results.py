"""What a run of the benchmark measured: the JSON file's schema."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from benchmarks.setting import FirstLayer
from neurodeploy.dynamics.kernels.memory import Allocator

SCHEMA = 1
Mode = Literal["forward", "forward + backward"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Record):
    """Where it ran. `load_before` and `load_after` are the 1-minute load averages."""

    cpu: str
    cores: PositiveInt
    memory_gib: PositiveFloat
    device: str
    allocator: Allocator
    torch: str
    python: str
    load_before: float
    load_after: float


class NetworkAgreement(_Record):
    """Spikes of the whole network against ours, over all layers and steps, on the exact grid."""

    subject: str
    steps: int
    first_layer: FirstLayer
    compared: int
    spikes: int
    different: int
    logits_difference: float
    """Greatest absolute difference."""
    gradient_difference: float | None
    """Greatest relative difference of a weight's gradient, `‖g − g'‖ / ‖g‖`; None where the surrogate is not ours."""


class NeuronAgreement(_Record):
    """Spikes of single neurons on random float32 currents, on no grid."""

    subject: str
    reset: Literal["hard", "soft"]
    compared: int
    different: int


class Timing(_Record):
    """Seconds of one pass: the median over the rounds, and the fastest; and the median of the processor time of all threads."""

    subject: str
    mode: Mode
    steps: int
    threads: int
    first_layer: FirstLayer
    median_s: PositiveFloat
    fastest_s: PositiveFloat
    cpu_s: PositiveFloat | None = None
    """None on a GPU, and in results from before it was measured."""
    rounds: PositiveInt


class Memory(_Record):
    """Bytes by which one pass, in a process of its own, raises the peak over what it held before."""

    subject: str
    mode: Mode
    steps: int
    first_layer: FirstLayer
    peak_bytes: int
    method: str


class Result(_Record):
    """One run."""

    schema_version: Literal[1] = SCHEMA
    day: date
    machine: Machine
    versions: dict[str, str]
    batch: int
    input: tuple[int, int, int]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    notes: dict[str, tuple[str, ...]]
    networks: list[NetworkAgreement]
    neurons: list[NeuronAgreement]
    timings: list[Timing]
    memory: list[Memory]


class RecordedLava(_Record):
    """A run of Lava's CPU simulation that somebody timed before: steps only."""

    case: str
    what: str
    steps: PositiveInt
    seconds: PositiveFloat
    machine: str
    load: str
    """What else that machine did."""


class StatesAgreement(_Record):
    """Spikes, currents and potentials of a whole network against the recorded ones."""

    case: str
    compared: int
    different: int


class SimulationTiming(_Record):
    """Seconds of one run of a batch: the median over the rounds, and the fastest; and the median of the processor time."""

    subject: Literal["neurodeploy", "lava"]
    case: str
    batch: PositiveInt
    threads: PositiveInt
    median_s: PositiveFloat
    fastest_s: PositiveFloat
    cpu_s: float | None
    """None for Lava, which runs in processes of its own."""
    rounds: PositiveInt


class SimulationMemory(_Record):
    """Bytes by which one run, in a process of its own, raises the peak over what it held before."""

    case: str
    batch: PositiveInt
    threads: PositiveInt
    peak_bytes: int
    method: str


class SimulationResult(_Record):
    """One run of the benchmark of the Loihi simulator."""

    schema_version: Literal[1] = SCHEMA
    day: date
    machine: Machine
    versions: dict[str, str]
    recorded: list[RecordedLava]
    agreement: list[StatesAgreement]
    timings: list[SimulationTiming]
    memory: list[SimulationMemory]


class SpikesAgreement(_Record):
    """Spikes and silences of all layers and steps, ours against another way of running the same graph."""

    network: str
    steps: PositiveInt
    subject: str
    compared: PositiveInt
    spikes: int
    different: int


class Artefact(_Record):
    """An exported file. `steps` is None where one file serves any T; `session_s` is the time of our own checked loading."""

    network: str
    subject: str
    steps: PositiveInt | None
    bytes: PositiveInt
    operators: PositiveInt
    export_s: PositiveFloat
    load_s: PositiveFloat
    session_s: float | None


class ExportTiming(_Record):
    """Seconds of one pass of a batch: the median over the rounds, and the fastest."""

    network: str
    subject: str
    steps: PositiveInt
    batch: PositiveInt
    threads: PositiveInt
    median_s: PositiveFloat
    fastest_s: PositiveFloat
    rounds: PositiveInt


class ExportResult(_Record):
    """One run of the benchmark of the ONNX export."""

    schema_version: Literal[1] = SCHEMA
    day: date
    machine: Machine
    versions: dict[str, str]
    threads: PositiveInt
    agreement: list[SpikesAgreement]
    artefacts: list[Artefact]
    timings: list[ExportTiming]
