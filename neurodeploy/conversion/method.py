"""How thresholds are found in a conversion, and what is corrected."""

from dataclasses import dataclass
from typing import Literal, get_args

from neurodeploy.io.errors import UserError

Thresholds = Literal["spiking", "activations", "error", "one"]


@dataclass(frozen=True)
class Method:
    """Settings of a conversion.

    Attributes:
        thresholds: where each layer's θ comes from: "spiking", the pre-activations in the spiking network itself, layer by
            layer; "activations", those of the ReLU network; "error", the θ with the least error of the firing rate; "one",
            θ = 1 everywhere, the unbalanced network. See `balancing`.
        percentile: of the positive pre-activations, above 0 and at most 100; 100 is their maximum. Of "spiking" and
            "activations".
        scale: factor on every threshold. Hybrid training scales by 0.7 for fewer steps (printed: Rathi et al. 2020, default
            of the authors' code).
        shift: add θ / (2 T) to the current of every step. See `calibration.shift`.
        calibrate: correct every channel's bias by the mean error of its firing rate. See `calibration.calibrate_biases`.

    Raises:
        UserError: a setting is outside its range.
    """

    thresholds: Thresholds = "spiking"
    percentile: float = 100.0
    scale: float = 1.0
    shift: bool = False
    calibrate: bool = False

    def __post_init__(self) -> None:
        if self.thresholds not in get_args(Thresholds):
            names = ", ".join(map(repr, get_args(Thresholds)))
            raise UserError(f"conversion thresholds: {self.thresholds!r} found, {names} expected")
        if not 0 < self.percentile <= 100:
            raise UserError(f"conversion percentile: {self.percentile} found, a number above 0 and at most 100 expected")
        if self.percentile != 100 and self.thresholds not in ("spiking", "activations"):
            raise UserError(
                f'conversion percentile: belongs to thresholds = "spiking" and "activations", {self.thresholds!r} found'
            )
        if not 0 < self.scale < float("inf"):
            raise UserError(f"conversion scale: {self.scale} found, a positive number expected")
