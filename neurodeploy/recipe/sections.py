"""The sections of a recipe: neurons, students, teachers and fine-tuning."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import nn

from neurodeploy.conversion import Method
from neurodeploy.conversion.method import OF_LEVELS, Thresholds, usual_method, usual_reset
from neurodeploy.conversion.qcfs import MOST_LEVELS
from neurodeploy.distillation import AnyLossTerm, CrossEntropy
from neurodeploy.distillation.term import ClassWeights
from neurodeploy.dynamics.encoders import AnyEncoder
from neurodeploy.dynamics.neurons import Reset
from neurodeploy.dynamics.settings import CubaSettings as CubaSettings
from neurodeploy.dynamics.settings import LateResetSettings as LateResetSettings
from neurodeploy.dynamics.settings import LifSettings as LifSettings
from neurodeploy.dynamics.settings import NeuronSettings, SurrogateSettings
from neurodeploy.dynamics.settings import ParametricSettings as ParametricSettings
from neurodeploy.dynamics.settings import ThresholdSettings as ThresholdSettings
from neurodeploy.io.imports import found_beside, is_reference
from neurodeploy.io.kinds import ByKind
from neurodeploy.io.modules import module_named
from neurodeploy.networks import NetworkSpec

AnyNeuron = Annotated[NeuronSettings, ByKind("neuron", "neurodeploy.neurons", default="lif")]

RoleName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class Section(BaseModel):
    """A table of a recipe: nothing unknown in it, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def with_code(content: Any) -> Any:
    """A table that says `encoder` as one that says `code`."""
    if not isinstance(content, dict) or "encoder" not in content:
        return content
    if "code" in content:
        raise ValueError("encoder: the same as code, which is given too; remove one of them")
    return {"code" if name == "encoder" else name: value for name, value in content.items()}


class TrainingSettings(Section):
    """`[teacher]` or a student's `training`: length, optimizer and schedule.

    Weight decay acts on weights alone, not on biases, batch norm and learned constants of neurons.

    Attributes:
        epochs: over the training set; 0 only for a student that is converted.
        batch_size: samples per update of the weights.
        accumulate: pieces in which a batch is computed, one after another, to save memory.
        recompute: what lies between layers of neurons is computed again in the backward pass instead of being kept: less
            memory for some more time, and the same weights. For networks of this package, and spiking twins.
        optimizer: "sgd" (Nesterov momentum), "adam" or "adamw".
        learning_rate: after the warm-up.
        momentum: of "sgd".
        weight_decay: L2 penalty; decoupled with "adamw".
        schedule: "cosine" falls to 0, "step" multiplies by `step_factor` every `step_epochs`, "constant" stays.
        warmup_epochs: the rate rises linearly from 0.
        clip_norm: the gradient of all weights together is shortened to this length before each update, if it is longer. None:
            it is taken as it is.
        average: d of an exponential moving average of the weights, `a ← d a + (1 − d) w` after each update; training then
            ends with the average. None: the last weights.
        patience: stop after so many epochs without a better validation accuracy, and end with the best weights. None: never.
        validation_samples: held out of the training set, for `patience`.
        stratified: hold out of every class as many as its share; otherwise they are drawn from all alike.
    """

    epochs: int = Field(ge=0, le=100_000)
    batch_size: int = Field(default=64, ge=1)
    accumulate: int = Field(default=1, ge=1)
    recompute: bool = False
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    step_epochs: int = Field(default=30, ge=1)
    step_factor: float = Field(default=0.5, gt=0, lt=1)
    warmup_epochs: int = Field(default=1, ge=0)
    clip_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    average: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    validation_samples: int = Field(default=0, ge=0)
    stratified: bool = False

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "TrainingSettings":
        if (self.patience is None) != (self.validation_samples == 0):
            raise ValueError("patience and validation_samples belong together; give both or neither")
        if self.stratified and self.validation_samples == 0:
            raise ValueError("stratified: true found without validation_samples, which it is about; give both or neither")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate: {self.accumulate} pieces found for batches of {self.batch_size}")
        return self


class FinetuneSettings(Section):
    """How a trained student learns on in Loihi's integers: Adam, whose rate falls to 0 as a cosine.

    The loss is `CE(z, y) + distillation · τ² KL(softmax(z_F/τ) ‖ softmax(z/τ))`, with z the logits and z_F those of the
    student before, in float.

    Attributes:
        epochs: over the training set.
        batch_size: samples per update of the weights.
        learning_rate: at the start.
        distillation: weight of the student's own answers in float.
        temperature: τ.
        reset: neurons that were trained with another reset get the chip's, to 0, and learn to live with it.
    """

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0, allow_inf_nan=False)
    distillation: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    temperature: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    reset: bool = False

    @property
    def optimization(self) -> TrainingSettings:
        own = self.model_dump(include={"epochs", "batch_size", "learning_rate"})
        return TrainingSettings(**own, optimizer="adam", weight_decay=0, warmup_epochs=0)


class SourceSettings(TrainingSettings):
    """`[source]`: the ReLU network that students are made of where the teacher is another.

    How it is trained, with cross-entropy; or which module of the user's it is, trained already.

    Attributes:
        epochs: over the training set; 0, the default, for a network that is not trained here: it needs `module` or `weights`.
        label_smoothing: share of the target that is spread over all classes.
        class_weights: see `CrossEntropy`.
        module: `package.module:name` of a torch module, or of a function that makes one; instead of a network.
        arguments: of that function, by name.
        weights: a file of weights for it: safetensors, a state dict of `torch.save`, or a checkpoint. A relative path is beside
            the recipe's file.
    """

    epochs: int = Field(default=0, ge=0, le=100_000)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    class_weights: ClassWeights | None = None
    module: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    weights: Path | None = None

    @field_validator("weights")
    @classmethod
    def _are_beside_the_recipe(cls, path: Path | None) -> Path | None:
        return None if path is None else found_beside(path.expanduser())

    @model_validator(mode="after")
    def _is_trained_somewhere(self) -> "SourceSettings":
        if self.epochs == 0 and self.module is None and self.weights is None:
            raise ValueError("epochs: 0 found, at least 1 expected for a ReLU network without weights or module")
        if self.epochs and self.module is not None:
            raise ValueError(f"epochs: {self.epochs} found, 0 expected for a module, which is taken as it is; train it before")
        if self.module is None and self.arguments:
            raise ValueError("arguments: belongs to a module, none found")
        if self.module is not None and not is_reference(self.module):
            raise ValueError(f"module: {self.module!r} found, package.module:name expected")
        return self

    def make(self, what: str) -> nn.Module:
        """The user's module, without the weights of the file; `what` is what messages call it.

        Raises:
            UserError: it cannot be imported or made.
        """
        assert self.module is not None
        return module_named(self.module, what=what, arguments=self.arguments)


class TeacherSettings(SourceSettings):
    """`[teacher]`: how the teacher is trained; or which module of the user's it is, trained already. See `SourceSettings`.

    Attributes:
        epochs: over the training set; 0, the default, for a teacher that is not trained here: it needs `module` or `weights`.
        network: of the teacher, if it is not the students'; terms that compare features or taps then need equal shapes.
        module: `package.module:name` of a torch module, or of a function that makes one; instead of a network.
        arguments: of that function, by name.
        weights: a file of weights for it: safetensors, a state dict of `torch.save`, or a checkpoint. A relative path is beside
            the recipe's file.
        classifier, features: layers of the module, see `neurodeploy.distill`; looked for if they are not given.
        taps: student's tap → layer of the module; spiking layers and `nn.ReLU` by their own names if it is not given.
    """

    network: NetworkSpec | None = None
    classifier: str | None = None
    features: str | None = None
    taps: dict[str, str] | None = None

    @model_validator(mode="after")
    def _layers_are_of_a_module(self) -> "TeacherSettings":
        if self.module is not None and self.network is not None:
            raise ValueError("module and network: two definitions of the teacher found, one expected")
        if self.module is None:
            for name in ("classifier", "features", "taps"):
                if getattr(self, name):
                    raise ValueError(f"{name}: belongs to a module, none found")
        return self


class ConversionSettings(Section):
    """A student's `conversion`: it starts as the converted source, or teacher (see `neurodeploy.conversion`), not at random.

    Attributes:
        thresholds, percentile, scale, shift, calibrate: see `neurodeploy.conversion.Method`.
        samples: of the training set, the first ones, that set and correct the thresholds.
    """

    thresholds: Thresholds = "spiking"
    percentile: float = 100.0
    scale: float = 1.0
    shift: bool = False
    calibrate: bool = False
    samples: int = Field(default=256, ge=1)

    @model_validator(mode="after")
    def _is_a_method(self) -> "ConversionSettings":
        self.method()
        return self

    def method(self) -> Method:
        return Method(self.thresholds, self.percentile, self.scale, self.shift, self.calibrate)


class TwinSettings(Section):
    """A student's `spiking`: it is the spiking twin of a ReLU network, whatever that is (see `neurodeploy.conversion`).

    Its weights are that network's, IF neurons stand for its ReLUs, and their thresholds are balanced on samples.

    Attributes:
        of: name of the `[[quantized]]` network whose twin it is, with its thresholds and soft reset; the twin of the source, or
            else of the teacher, if it is not given.
        thresholds, shift, calibrate: see `neurodeploy.conversion.Method`; what is not given is as in
            `neurodeploy.conversion.spiking`, which depends on the steps and the reset.
        scale: see there.
        percentile: see there; 99.9 where `thresholds` has one. Alone it is of thresholds = "activations".
        samples: of the training set, the first ones, that set and correct the thresholds.
        reset: of the neurons; if it is not given "soft" with `of`, else "hard" up to 16 steps and "soft" above, see
            `neurodeploy.conversion.spiking`.
        learn_threshold: whether the training learns the thresholds too.
        classifier: layer of that network that makes logits of features; its last linear one if it is not given.
        evaluate_after: number of first steps that the mean of the logits leaves out, see there.
        precharge: neurons begin at half of their threshold, instead of being given that over the steps; the training learns
            where they begin. Then the first of few steps count. For targets that run neurons of any kind: ONNX and C.
        surrogate: derivative of the spike in training.
    """

    of: str | None = None
    thresholds: Thresholds | None = None
    percentile: float | None = None
    scale: float = 1.0
    shift: bool | None = None
    calibrate: bool | None = None
    samples: int = Field(default=256, ge=1)
    reset: Reset | None = None
    learn_threshold: bool = False
    classifier: str | None = None
    evaluate_after: int | None = Field(default=None, ge=0)
    precharge: bool = False
    surrogate: SurrogateSettings = SurrogateSettings()

    @model_validator(mode="after")
    def _is_a_method(self) -> "TwinSettings":
        self.method(1, "soft")
        if self.of is not None and self.classifier is not None:
            raise ValueError(f"classifier: that of {self.of} is taken; say it there")
        return self

    def usual_reset(self, steps: int) -> Reset:
        """The reset of a twin of so many steps."""
        return self.reset or (usual_reset(steps) if self.of is None else "soft")

    def method(self, steps: int, reset: Reset) -> Method:
        """How the thresholds of a twin of so many steps are found, and what is corrected."""
        usual = usual_method(steps, reset) if self.of is None else OF_LEVELS
        thresholds = self.thresholds or (usual.thresholds if self.percentile is None else "activations")
        percentile = 99.9 if thresholds in ("spiking", "activations") else 100.0
        return Method(
            thresholds,
            percentile if self.percentile is None else self.percentile,
            self.scale,
            usual.shift if self.shift is None else self.shift,
            usual.calibrate if self.calibrate is None else self.calibrate,
        )


class QuantizedSettings(Section):
    """One `[[quantized]]`: the source, or else the teacher, with QCFS activations, trained a little (see `neurodeploy.qcfs`).

    An epoch costs what one of a ReLU network costs, and the spiking twin of as many steps as there are levels begins near its
    accuracy: students say `spiking = { of = … }`.

    Attributes:
        name: of its folder, in reports, and for students.
        of: name of a `[[quantized]]` network above, whose weights it begins with instead of those of source or teacher: fewer
            levels are reached step by step.
        levels: L, above 0; about the T of the students that are made of it.
        percentile: of the positive activations, as the first thresholds; those of the least squared error if it is not given.
        samples: of the training set, the first ones, that set the first thresholds.
        repact: the last ReLU stays as it is, for students with RepAct.
        classifier: layer that makes logits of features; the last linear one if it is not given.
        training: length, optimizer and schedule.
        loss: terms, summed with their weights.
        known_teacher: see `StudentSettings`.
    """

    name: RoleName
    of: str | None = None
    levels: int = Field(default=4, ge=1, le=MOST_LEVELS)
    percentile: float | None = Field(default=None, gt=0, le=100)
    samples: int = Field(default=256, ge=1)
    repact: bool = False
    classifier: str | None = None
    training: TrainingSettings
    loss: tuple[AnyLossTerm, ...] = Field(default=(CrossEntropy(),), min_length=1)
    known_teacher: bool = False

    @property
    def needs_teacher(self) -> bool:
        return any(term.needs_teacher for term in self.loss)


class StudentSettings(Section):
    """One `[[student]]`: a spiking network of the recipe's definition, and the loss that it is trained with.

    Attributes:
        name: of its folder and in reports.
        repact: see `networks.SpikingActivations`.
        neuron: its spiking layers, if they are not the recipe's.
        steps: its T, if it is not the recipe's: one recipe then compares latencies under one teacher.
        code: how a static sample becomes spikes, if not as the recipe says; not for event data.
        conversion: how the source (or the teacher) is converted into its first weights; None: they are random. With it,
            `training.epochs` may be 0: conversion alone.
        spiking: the student is the spiking twin of another network, and has none of the recipe's; `training.epochs` may be 0.
        training: length, optimizer and schedule.
        loss: terms, summed with their weights.
        teacher: name of a student above, which its terms ask in place of the recipe's teacher: a spiking teacher.
        known_teacher: ask the teacher once for its logits and features of the whole training set, instead of for each batch;
            not with augmentation, nor with terms that read its taps.
    """

    name: RoleName
    repact: bool = False
    neuron: AnyNeuron | None = None
    steps: int | None = Field(default=None, ge=1, le=8192)
    code: AnyEncoder | None = None
    conversion: ConversionSettings | None = None
    spiking: TwinSettings | None = None
    training: TrainingSettings
    loss: tuple[AnyLossTerm, ...] = Field(default=(CrossEntropy(),), min_length=1)
    teacher: str | None = None
    known_teacher: bool = False

    @model_validator(mode="before")
    @classmethod
    def _encoder_is_the_code(cls, content: Any) -> Any:
        return with_code(content)

    @property
    def needs_teacher(self) -> bool:
        return any(term.needs_teacher for term in self.loss)

    @model_validator(mode="after")
    def _a_teacher_of_its_own_is_asked(self) -> "StudentSettings":
        if self.teacher is not None and not self.needs_teacher:
            raise ValueError(f"teacher: {self.teacher!r} found, but no loss term asks a teacher; add one, or leave teacher out")
        return self

    @model_validator(mode="after")
    def _an_untrained_student_is_converted(self) -> "StudentSettings":
        if self.training.epochs == 0 and self.conversion is None and self.spiking is None:
            raise ValueError("training.epochs: 0 found, at least 1 expected for a student without conversion")
        return self

    @model_validator(mode="after")
    def _a_twin_is_all_its_teachers(self) -> "StudentSettings":
        if self.spiking is not None and self.conversion is not None:
            raise ValueError("spiking and conversion: two ways to begin found, one expected")
        if self.spiking is not None and self.neuron is not None:
            raise ValueError("neuron: a spiking twin has IF neurons; leave neuron out, or spiking")
        return self
