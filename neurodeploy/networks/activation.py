"""What stands behind each synapse layer: a ReLU in the teacher, spiking neurons in the student."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from neurodeploy.encoding import DirectEncoding


class Activations(Protocol):
    """Makes a network's activation layers and says how a static sample becomes a sequence."""

    def make(self, *, last: bool = False) -> nn.Module:
        """A new activation layer; `last` marks the one before the classifier."""
        ...

    def encoding(self) -> nn.Module:
        """The layer that turns the first layer's constant current into a sequence."""
        ...


@dataclass(frozen=True)
class Relu:
    """The teacher's activations: ReLU everywhere, one time step."""

    def make(self, *, last: bool = False) -> nn.Module:  # noqa: ARG002
        return nn.ReLU()

    def encoding(self) -> nn.Module:
        return nn.Identity()


@dataclass(frozen=True)
class Spiking:
    """The student's activations: spiking neurons over T steps.

    Attributes:
        neuron: makes a layer of spiking neurons, such as `functools.partial(layers.Neuron, parameters, surrogate)`.
        steps: T.
        repact: replace the last spiking layer by a ReLU applied at every step, without a membrane (RepAct, EnOF-SNN).
    """

    neuron: Callable[[], nn.Module]
    steps: int
    repact: bool = False

    def make(self, *, last: bool = False) -> nn.Module:
        return nn.ReLU() if last and self.repact else self.neuron()

    def encoding(self) -> nn.Module:
        return DirectEncoding(self.steps)
