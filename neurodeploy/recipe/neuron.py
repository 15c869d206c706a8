"""`[neuron]`: the spiking layers and their surrogate gradient."""

from typing import Literal

from pydantic import Field, model_validator

from neurodeploy import surrogate
from neurodeploy.layers import CubaNeuron, Neuron, ParametricNeuron, ThresholdNeuron
from neurodeploy.neurons import NeuronParameters, Reset
from neurodeploy.recipe.section import Section


class SurrogateSettings(Section):
    """`[neuron.surrogate]`: the derivative of the spike; each kind takes its own constant (see `neurodeploy.surrogate`)."""

    kind: Literal["rectangle", "triangle", "arctangent", "sigmoid", "fast-sigmoid", "straight-through", "tanh"] = "rectangle"
    width: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    gamma: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    alpha: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    slope: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _only_its_own_constant(self) -> "SurrogateSettings":
        own = surrogate.SURROGATES[self.kind].__dataclass_fields__
        for name in self.model_dump(exclude={"kind"}, exclude_none=True).keys() - own.keys():
            raise ValueError(f"a {self.kind} takes {', '.join(own) or 'no constant'}, not {name}")
        return self

    def build(self) -> surrogate.Surrogate:
        constants = self.model_dump(exclude={"kind"}, exclude_none=True)
        return surrogate.SURROGATES[self.kind](**constants)


class NeuronSettings(Section):
    """`[neuron]`: every spiking layer of the students.

    Attributes:
        kind: "lif" (with decay 1: IF), "parametric" (the leak is learned), "threshold" (each layer has a threshold of its own,
            which conversion sets) or "cuba" (a synaptic current before the membrane).
        decay, threshold, reset: see `neurodeploy.neurons.NeuronParameters`; where training learns them, their start.
        learn_threshold: of "parametric" and "threshold": training learns the threshold too.
        current_decay: of "cuba".
        detach_reset: no gradient flows through the spike in the reset.
    """

    kind: Literal["lif", "parametric", "threshold", "cuba"] = "lif"
    decay: float = Field(default=0.25, ge=0, le=1)
    threshold: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    reset: Reset = "hard"
    learn_threshold: bool | None = None
    current_decay: float | None = Field(default=None, ge=0, le=1)
    detach_reset: bool = False
    surrogate: SurrogateSettings = SurrogateSettings()

    @model_validator(mode="after")
    def _only_what_the_kind_takes(self) -> "NeuronSettings":
        if self.learn_threshold is not None and self.kind not in ("parametric", "threshold"):
            raise ValueError(f'learn_threshold belongs to kind = "parametric" and "threshold", {self.kind!r} found')
        if (self.current_decay is None) == (self.kind == "cuba"):
            raise ValueError(f'current_decay belongs to kind = "cuba" and is required there, {self.kind!r} found')
        if self.kind == "parametric" and not 0 < self.decay < 1:
            raise ValueError(f"decay: {self.decay} found, a number between 0 and 1 expected where it is learned")
        return self

    def build(self) -> Neuron:
        """One layer of neurons."""
        parameters = NeuronParameters(self.decay, self.threshold, self.reset)
        slope = self.surrogate.build()
        learn = bool(self.learn_threshold)
        if self.kind == "parametric":
            return ParametricNeuron(parameters, slope, detach_reset=self.detach_reset, learn_threshold=learn)
        if self.kind == "threshold":
            return ThresholdNeuron(parameters, slope, detach_reset=self.detach_reset, learn_threshold=learn)
        if self.current_decay is not None:
            return CubaNeuron(parameters, slope, current_decay=self.current_decay, detach_reset=self.detach_reset)
        return Neuron(parameters, slope, detach_reset=self.detach_reset)
