"""What a recipe says of its neurons: one class for each kind, which builds the layer."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neurodeploy.dynamics import surrogates
from neurodeploy.dynamics.layers import CubaNeuron, LateResetNeuron, Neuron, ParametricNeuron, ThresholdNeuron
from neurodeploy.dynamics.neurons import NeuronParameters, Reset


class SurrogateSettings(BaseModel):
    """`[neuron.surrogate]`: the spike's derivative; each kind takes its own constant (`neurodeploy.dynamics.surrogates`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["rectangle", "triangle", "arctangent", "sigmoid", "fast-sigmoid", "straight-through", "tanh"] = "rectangle"
    width: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    gamma: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    alpha: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    slope: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _only_its_own_constant(self) -> "SurrogateSettings":
        own = surrogates.SURROGATES[self.kind].__dataclass_fields__
        for name in self.model_dump(exclude={"kind"}, exclude_none=True).keys() - own.keys():
            raise ValueError(f"a {self.kind} takes {', '.join(own) or 'no constant'}, not {name}")
        return self

    def build(self) -> surrogates.Surrogate:
        constants = self.model_dump(exclude={"kind"}, exclude_none=True)
        return surrogates.SURROGATES[self.kind](**constants)


class NeuronSettings(BaseModel):
    """`[neuron]`: every spiking layer of the students. A subclass names its `kind` and its `layer`, and adds its own constants.

    Attributes:
        layer: the class of the layers; beside the fields below it takes those of the subclass, by their names.
        decay, threshold, reset: see `neurodeploy.dynamics.neurons.NeuronParameters`; where training learns them, their start.
        detach_reset: no gradient flows through the spike in the reset.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    layer: ClassVar[type[Neuron]] = Neuron
    kind: str
    decay: float = Field(default=0.25, ge=0, le=1)
    threshold: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    reset: Reset = "hard"
    detach_reset: bool = False
    surrogate: SurrogateSettings = SurrogateSettings()

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, content: Any) -> Any:
        """Checkpoints of version 0.1 name the constants of every kind, null where they belong to another one."""
        return {name: value for name, value in content.items() if value is not None} if isinstance(content, dict) else content

    @property
    def parameters(self) -> NeuronParameters:
        return NeuronParameters(self.decay, self.threshold, self.reset)

    def build(self) -> Neuron:
        """One layer of neurons."""
        own = self.model_dump(exclude=set(NeuronSettings.model_fields))
        return self.layer(self.parameters, self.surrogate.build(), detach_reset=self.detach_reset, **own)


class LifSettings(NeuronSettings):
    """`kind = "lif"`: leaky integrate-and-fire neurons; with decay 1 they are IF neurons. See `NeuronSettings`."""

    kind: Literal["lif"] = "lif"


class ParametricSettings(NeuronSettings):
    """`kind = "parametric"`: training learns the leak (`layers.ParametricNeuron`). See `NeuronSettings`.

    Attributes:
        learn_threshold: training learns the threshold too.
    """

    layer: ClassVar[type[Neuron]] = ParametricNeuron
    kind: Literal["parametric"] = "parametric"
    decay: float = Field(default=0.25, gt=0, lt=1)
    learn_threshold: bool = False


class ThresholdSettings(NeuronSettings):
    """`kind = "threshold"`: each layer has a threshold of its own, which conversion sets. See `NeuronSettings`.

    Attributes:
        learn_threshold: training learns the threshold too.
        learn_decay: training learns the leak too, also one that begins at 1.
    """

    layer: ClassVar[type[Neuron]] = ThresholdNeuron
    kind: Literal["threshold"] = "threshold"
    learn_threshold: bool = False
    learn_decay: bool = False


class LateResetSettings(NeuronSettings):
    """`kind = "late-reset"`: `threshold` neurons whose reset subtracts a step late (`layers.LateResetNeuron`; LaSNN, eq. 1).

    Attributes:
        reset: "soft", the only one.
        learn_threshold: training learns the threshold too.
    """

    layer: ClassVar[type[Neuron]] = LateResetNeuron
    kind: Literal["late-reset"] = "late-reset"
    reset: Literal["soft"] = "soft"
    learn_threshold: bool = False


class CubaSettings(NeuronSettings):
    """`kind = "cuba"`: a synaptic current before the membrane (`layers.CubaNeuron`). See `NeuronSettings`.

    Attributes:
        current_decay: share of the synaptic current that is kept from step to step.
    """

    layer: ClassVar[type[Neuron]] = CubaNeuron
    kind: Literal["cuba"] = "cuba"
    current_decay: float = Field(ge=0, le=1)
