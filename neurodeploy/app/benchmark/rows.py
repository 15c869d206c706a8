"""What a benchmark knows of one artefact in one program; a field that cannot be filled says why."""

from dataclasses import dataclass
from typing import Literal

from neurodeploy.training.evaluation import Accuracy
from neurodeploy_exporters.runtime import Fit

BATCHES = (1, 64)
"""Sizes that are timed."""


@dataclass(frozen=True)
class Unknown:
    """A field that cannot be filled.

    Attributes:
        reason: in a sentence without its full stop.
    """

    reason: str


@dataclass(frozen=True)
class SpikeDifference:
    """Spikes against those of the network that was exported.

    Attributes:
        count: values (neuron, step, sample) that differ.
        compared: all of them, spiking or silent.
        samples: on which they were compared.
        absent: spiking layers of the network that the artefact does not have.
        first: the runtime that the same artefact is verified with; "" if that is this one.
        from_first: values that differ from what that one fired.
    """

    count: int
    compared: int
    samples: int
    absent: tuple[str, ...] = ()
    first: str = ""
    from_first: int = 0


@dataclass(frozen=True)
class Duration:
    """Of one batch: the median of `rounds`, in ms per sample."""

    batch: int
    ms_per_sample: float
    rounds: int


@dataclass(frozen=True)
class DeployedEnergy:
    """Estimated, µJ per sample.

    Attributes:
        uj: chip and host together.
        profiles: under which: that of the host, or those of chip and host.
        samples: on which operations were counted.
        left_out: what of the network has no cost in the chip's profile.
    """

    uj: float
    profiles: tuple[str, ...]
    samples: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class BenchmarkRow:
    """One artefact in one program.

    Attributes:
        target: "" for the network itself.
        variant: see `Variant.title`.
        runtime, version: of the program; the version is "" where it is this package.
        opens: whether the program reads the artefact.
        accuracy: on the labelled samples that there was time for.
        difference: against the network's spikes.
        durations: batch → what it takes.
        size: bytes of the files that the program reads.
        energy: of the artefact, whoever runs it.
        fit: of the artefact.
    """

    target: str
    variant: str
    runtime: str
    version: str
    opens: Literal[True] | Unknown
    accuracy: Accuracy | Unknown
    difference: SpikeDifference | Unknown
    durations: dict[int, Duration | Unknown]
    size: int | Unknown
    energy: DeployedEnergy | Unknown
    fit: Fit | Unknown

    @property
    def format(self) -> str:
        """Target and variant."""
        return f"{self.target}, {self.variant}" if self.variant else self.target or "the network itself"
