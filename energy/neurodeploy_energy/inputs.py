"""What the inputs of a layer were, value by value."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InputKinds:
    """Input values of a layer per sample, all steps together, by kind. A value that is not finite is analog.

    Attributes:
        zeros: 0.
        spikes: 1 or −1.
        graded: any other whole number.
        analog: no whole number.
    """

    zeros: float = 0.0
    spikes: float = 0.0
    graded: float = 0.0
    analog: float = 0.0

    def __add__(self, other: "InputKinds") -> "InputKinds":
        return InputKinds(
            self.zeros + other.zeros, self.spikes + other.spikes, self.graded + other.graded, self.analog + other.analog
        )
