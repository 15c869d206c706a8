"""A NIR file as a model: how it is to be understood, and what its samples look like."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from neurodeploy.errors import UserError
from neurodeploy.graph import Graph
from neurodeploy_exporters.nir import Reading, read_with_conventions


@dataclass(frozen=True)
class NirChoices:
    """What a NIR file does not tell; see `neurodeploy_exporters.nir.read_with_conventions`.

    Attributes:
        convention, dt, reset, input_shape: for reading.
        steps: how often a static sample is fed; None if the samples are sequences.
    """

    convention: str | None = None
    dt: float | None = None
    reset: Literal["hard", "soft"] | None = None
    input_shape: tuple[int, ...] | None = None
    steps: int | None = None

    def read(self, path: Path) -> Reading:
        """The network in a file.

        Raises:
            UserError: it is none, or the choices do not fit it.
        """
        reading = read_with_conventions(
            path, convention=self.convention, dt=self.dt, reset=self.reset, input_shape=self.input_shape
        )
        if self.steps is not None and reading.graph.steps is not None:
            raise UserError(f"{path}: tells its own number of steps, {reading.graph.steps}; leave out --steps")
        return reading


def is_nir(place: str | Path) -> bool:
    """Whether a model's place is that of a NIR file."""
    return str(place).endswith(".nir")


def as_fed(graph: Graph, samples: Tensor, steps: int | None, origin: Path) -> Tensor:
    """Samples of a file as the graph's module takes them: `[N, *shape]`, or `[N, T, *shape]` where its input is a sequence.

    Args:
        graph: of a NIR file.
        samples: sequences `[N, T, *shape]`; static samples `[N, *shape]` if the graph's input is static, or `steps` given.
        steps: how often a static sample is fed to an input that is a sequence.
        origin: of the samples, for messages.

    Raises:
        UserError: they have another shape.
    """
    shape, repeated = graph.input.shape, graph.input.timed and steps is not None
    leading = 2 if graph.input.timed and not repeated else 1
    if samples.ndim != leading + len(shape) or tuple(samples.shape[leading:]) != shape:
        axes = ", ".join(map(str, shape))
        wanted = f"[N, T, {axes}], or [N, {axes}] with --steps," if graph.input.timed else f"[N, {axes}]"
        raise UserError(f"{origin}: samples of shape {tuple(samples.shape)} found, {wanted} expected by the NIR file")
    return samples.unsqueeze(1).expand(-1, steps or 1, *shape).contiguous() if repeated else samples
