"""What makes a network a teacher or a student: how samples enter it, and the activation behind each synapse layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import nn

from neurodeploy.encoding import DirectEncoding, EventInput, LatencyEncoding, PoissonEncoding, StaticInput

Code = Literal["direct", "poisson", "latency", "events"]


class Activations(Protocol):
    """Makes a network's activation layers and says how a static sample becomes a sequence."""

    def make(self, *, last: bool = False) -> nn.Module:
        """A new activation layer; `last` marks the one before the classifier."""
        ...

    def entry(self) -> nn.Module:
        """The layer that makes of a sample what the first synapse layer reads: `[T, B, …]`, with T = 1 if it is constant."""
        ...

    def encoding(self) -> nn.Module:
        """The layer that turns the first layer's current into a sequence of T steps, if it is constant."""
        ...


@dataclass(frozen=True)
class Relu:
    """The teacher's activations: ReLU everywhere, one time step, or one per event frame.

    Attributes:
        events: samples are event frames `[B, T, …]`; the answer is the mean over them.
    """

    events: bool = False

    def make(self, *, last: bool = False) -> nn.Module:  # noqa: ARG002
        return nn.ReLU()

    def entry(self) -> nn.Module:
        return EventInput() if self.events else StaticInput()

    def encoding(self) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class Spiking:
    """The student's activations: spiking neurons over T steps.

    Attributes:
        neuron: makes a layer of spiking neurons, such as `functools.partial(layers.Neuron, parameters, surrogate)`.
        steps: T.
        code: how a sample becomes spikes: "direct" (its current is repeated), "poisson", "latency", or "events": it is
            event frames `[B, T, …]` already, and `steps` is their number.
        repact: replace the last spiking layer by a ReLU applied at every step, without a membrane (RepAct, EnOF-SNN).
    """

    neuron: Callable[[], nn.Module]
    steps: int
    repact: bool = False
    code: Code = "direct"

    def make(self, *, last: bool = False) -> nn.Module:
        return nn.ReLU() if last and self.repact else self.neuron()

    def entry(self) -> nn.Module:
        if self.code == "poisson":
            return PoissonEncoding(self.steps)
        if self.code == "latency":
            return LatencyEncoding(self.steps)
        return EventInput() if self.code == "events" else StaticInput()

    def encoding(self) -> nn.Module:
        return DirectEncoding(self.steps) if self.code == "direct" else nn.Identity()
