"""`[teacher]` and `[[student]]`: what each network of a recipe is trained with."""

from typing import Literal

from pydantic import Field, model_validator

from neurodeploy.conversion import Method
from neurodeploy.conversion.method import Thresholds
from neurodeploy.distillation import AnyLossTerm, CrossEntropy
from neurodeploy.networks import NetworkSpec
from neurodeploy.optimization import TrainingSettings
from neurodeploy.recipe.neuron import NeuronSettings
from neurodeploy.recipe.section import Section

SampleCode = Literal["direct", "poisson", "latency"]
"""How a static sample becomes spikes."""


class SourceSettings(TrainingSettings):
    """`[source]`: how a ReLU network is trained, with cross-entropy.

    Attributes:
        label_smoothing: share of the target that is spread over all classes.
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class TeacherSettings(SourceSettings):
    """`[teacher]`: how the teacher is trained.

    Attributes:
        network: of the teacher, if it is not the students'; terms that compare features or taps then need equal shapes.
    """

    network: NetworkSpec | None = None


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


class StudentSettings(Section):
    """One `[[student]]`: a spiking network of the recipe's definition, and the loss that it is trained with.

    Attributes:
        name: of its folder and in reports.
        repact: see `networks.Spiking`.
        neuron: its spiking layers, if they are not the recipe's.
        steps: its T, if it is not the recipe's: one recipe then compares latencies under one teacher.
        code: how a static sample becomes spikes, if not as the recipe says; not for event data.
        conversion: how the source (or the teacher) is converted into its first weights; None: they are random. With it,
            `training.epochs` may be 0: conversion alone.
        training: length, optimizer and schedule.
        loss: terms, summed with their weights.
        known_teacher: ask the teacher once for its logits and features of the whole training set, instead of for each batch;
            not with augmentation, nor with terms that read its taps.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    repact: bool = False
    neuron: NeuronSettings | None = None
    steps: int | None = Field(default=None, ge=1, le=4096)
    code: SampleCode | None = None
    conversion: ConversionSettings | None = None
    training: TrainingSettings
    loss: tuple[AnyLossTerm, ...] = Field(default=(CrossEntropy(),), min_length=1)
    known_teacher: bool = False

    @property
    def needs_teacher(self) -> bool:
        return any(term.needs_teacher for term in self.loss)

    @model_validator(mode="after")
    def _an_untrained_student_is_converted(self) -> "StudentSettings":
        if self.training.epochs == 0 and self.conversion is None:
            raise ValueError("training.epochs: 0 found, at least 1 expected for a student without conversion")
        return self
