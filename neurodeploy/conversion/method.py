"""How thresholds are found in a conversion, what is corrected, and what is usual for so many steps."""

from dataclasses import dataclass
from typing import Literal, get_args

from neurodeploy.dynamics.neurons import Reset
from neurodeploy.io.errors import UserError

Thresholds = Literal["spiking", "activations", "error", "one"]
LEVELS: Literal["levels"] = "levels"


@dataclass(frozen=True)
class Method:
    """Settings of a conversion.

    Attributes:
        thresholds: where each layer's θ comes from: "spiking", the pre-activations in the spiking network itself, layer by
            layer; "activations", those of the ReLU network; "error", the θ with the least error of the firing rate; "one",
            θ = 1 everywhere, the unbalanced network; "levels", those of a network's own QCFS activations (`qcfs`). See
            `balancing`.
        percentile: of the positive pre-activations, above 0 and at most 100; 100 is their maximum. Of "spiking" and
            "activations".
        scale: factor on every threshold. Hybrid training scales by 0.7 for fewer steps (printed: Rathi et al. 2020, default
            of the authors' code).
        shift: add θ / (2 T) to the current of every step. See `calibration.shift`.
        calibrate: correct every channel's bias by the mean error of its firing rate. See `calibration.calibrate_biases`.

    Raises:
        UserError: a setting is outside its range.
    """

    thresholds: Thresholds | Literal["levels"] = "spiking"
    percentile: float = 100.0
    scale: float = 1.0
    shift: bool = False
    calibrate: bool = False

    def __post_init__(self) -> None:
        choices = (*get_args(Thresholds), LEVELS)
        if self.thresholds not in choices:
            names = ", ".join(map(repr, choices))
            raise UserError(f"conversion thresholds: {self.thresholds!r} found, {names} expected")
        if not 0 < self.percentile <= 100:
            raise UserError(f"conversion percentile: {self.percentile} found, a number above 0 and at most 100 expected")
        if self.percentile != 100 and self.thresholds not in ("spiking", "activations"):
            raise UserError(
                f'conversion percentile: belongs to thresholds = "spiking" and "activations", {self.thresholds!r} found'
            )
        if not 0 < self.scale < float("inf"):
            raise UserError(f"conversion scale: {self.scale} found, a positive number expected")


FEW_STEPS = 16
"""Up to so many a twin is trained before it is used, and corrected for just these steps; above, rates become activations."""


def usual_reset(steps: int) -> Reset:
    """The reset of a twin for so many steps, if nobody says which; see `neurodeploy.conversion.spiking`."""
    return "hard" if steps <= FEW_STEPS else "soft"


def usual_method(steps: int, reset: Reset) -> Method:
    """The method of a twin, if nobody says which.

    Args:
        steps: T.
        reset: of its neurons.
    """
    if rates_settle(steps, reset):
        return Method("error")
    if reset == "hard":  # the θ of least error is that of a soft reset, which gives back what is above it
        return Method("activations", 99.9, shift=True, calibrate=True)
    return Method("error", shift=True, calibrate=True)


OF_LEVELS = Method(LEVELS, shift=True, calibrate=True)
"""The method of a twin of a network with QCFS activations: its thresholds, and θ/2 over the T steps (Bu et al. 2022)."""


def usual_delay(steps: int, reset: Reset) -> int:
    """After how many steps a twin's output is evaluated, if nobody says; see `usual_method`."""
    return steps // 2 if rates_settle(steps, reset) else 0


def rates_settle(steps: int, reset: Reset) -> bool:
    """Whether rates are those of constant currents once the first spikes are over.

    Then the mean over the later steps needs no correction: what the first steps do otherwise, above all neurons that fire
    although their currents settle below 0, is not in it.
    """
    return reset == "soft" and steps > FEW_STEPS
