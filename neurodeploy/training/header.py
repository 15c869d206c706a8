"""What a checkpoint says of itself: which network was trained, how, and how far; of a recipe, or of a user's module."""

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from neurodeploy.data import AnyDataSet, DataSet
from neurodeploy.io.errors import UserError
from neurodeploy.io.modules import module_named
from neurodeploy.recipe import Precision, Recipe
from neurodeploy.recipe.sections import TrainingSettings
from neurodeploy.training.twins import StoredQcfs, StoredTwin
from neurodeploy_exporters.target import Target, TargetOptions

_FORMAT = 1


class Header(BaseModel):
    """The JSON part of a checkpoint: what was trained, and how far.

    Attributes:
        format: version of this layout.
        seed: of weights and batches.
        epoch: epochs that are complete.
        stopped: ended before its last epoch, because the validation accuracy no longer rose.
        best_accuracy, epochs_since_best: of early stopping so far.
        scaler: state of the loss scaling in float16.
        classes: K.
        class_names: of the data, in the order of the answers; empty if they have none.
        twin: what it is built of, if it is the spiking twin of another network, or that network with QCFS activations.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    identity: ClassVar[tuple[str, ...]] = ("seed",)
    """Fields in which two trainings differ if one cannot go on from the other's checkpoint."""

    format: int = Field(default=_FORMAT, ge=_FORMAT, le=_FORMAT)
    seed: int
    epoch: int = Field(ge=0)
    stopped: bool = False
    best_accuracy: float | None = None
    epochs_since_best: int = Field(default=0, ge=0)
    scaler: dict[str, float] = Field(default_factory=dict)
    classes: int = Field(ge=2)
    class_names: tuple[str, ...] = ()
    twin: StoredTwin | StoredQcfs | None = None

    @property
    def complete(self) -> bool:
        return self.stopped or self.epoch >= self.settings.epochs

    @property
    @abstractmethod
    def settings(self) -> TrainingSettings:
        """Length, optimizer and schedule of the training."""

    def differing(self, other: "Header") -> str | None:
        """A field of its identity in which another training differs; None if that can go on from here."""
        for field in other.identity:
            if getattr(self, field) != getattr(other, field):
                return field
        return None

    @property
    @abstractmethod
    def title(self) -> str:
        """What was trained, in a word or two: `digits/student`."""

    @property
    def file_name(self) -> str:
        """The title as files and bundles can be called."""
        return self.title.replace("/", "-").replace(":", "-")

    @property
    @abstractmethod
    def data_set(self) -> AnyDataSet | None:
        """The data that it was trained on; None if they were given in memory."""

    @property
    def relu(self) -> bool:
        """Whether it is known to have no spikes."""
        return False

    def targets(self) -> dict[str, tuple[Target, TargetOptions]]:
        """The targets that it is meant for, with their options.

        Raises:
            UserError: one is not installed.
        """
        return {}

    def load_data(self) -> DataSet:
        """The very data that it was trained on.

        Raises:
            UserError: they were given in memory, or cannot be read.
        """
        if self.data_set is None:
            raise UserError(f"{self.title}: was trained on {self.data_words}, which its checkpoint cannot load; give samples")
        return self.data_set.load()

    @property
    def data_words(self) -> str:
        """The data in a sentence, where they are no data set."""
        return "no data"

    @abstractmethod
    def check_samples(self, shape: tuple[int, ...], origin: str, *, timed: bool = False) -> None:
        """Refuse samples that the network was not trained on the like of.

        Args:
            shape: of a sample.
            origin: of the samples, for the message.
            timed: they have a time axis of their own, before all others.

        Raises:
            UserError: their shape does not fit.
        """

    def build(self, arrays: Mapping[str, Tensor] = MappingProxyType({})) -> nn.Module:
        """The untrained network that the weights belong to.

        Args:
            arrays: weights, and what else the checkpoint holds of it; a spiking twin is built with them.

        Raises:
            UserError: it cannot be built.
        """
        return self._made() if self.twin is None else self.twin.build(arrays)

    @abstractmethod
    def _made(self) -> nn.Module:
        """The network, if it is no spiking twin."""


class Progress(Header):
    """Of a network of a recipe; for the fields that every header has, see `Header`.

    Attributes:
        recipe: the whole recipe that the network is trained by.
        role: "teacher", "source" or the name of a quantized network or of a student.
        in_channels: that the network was built for.
        weights_sha256: of the file of weights that it began with; None without one.
    """

    identity: ClassVar[tuple[str, ...]] = ("role", "seed", "in_channels", "classes", "weights_sha256")
    recipe: Recipe
    role: str
    in_channels: int = Field(ge=1)
    weights_sha256: str | None = None

    @field_validator("role")
    @classmethod
    def _is_of_the_recipe(cls, role: str, info: ValidationInfo) -> str:
        recipe = info.data.get("recipe")
        if isinstance(recipe, Recipe) and role not in recipe.roles:
            raise ValueError(f"{role!r} found, one of {recipe.roles} expected")
        return role

    def differing(self, other: Header) -> str | None:
        field = super().differing(other)
        if field is None and isinstance(other, Progress) and not self.recipe.trains_like(other.recipe, self.role):
            return "recipe"
        return field

    @property
    def settings(self) -> TrainingSettings:
        return self.recipe.training(self.role)

    @property
    def title(self) -> str:
        return f"{self.recipe.name}/{self.role}"

    @property
    def data_set(self) -> AnyDataSet | None:
        return self.recipe.data

    @property
    def relu(self) -> bool:
        return not self.recipe.spikes(self.role)

    def targets(self) -> dict[str, tuple[Target, TargetOptions]]:
        return self.recipe.export.target_options()

    def check_samples(self, shape: tuple[int, ...], origin: str, *, timed: bool = False) -> None:
        frames = self.recipe.data.event_frames
        expected = (self.in_channels,) if frames is None else (frames, self.in_channels)
        if timed != (frames is not None) or shape[: len(expected)] != expected:
            axes = ", ".join(map(str, (*expected, "…")))
            raise UserError(f"{origin}: samples of shape {shape} found, ({axes}) expected by {self.title}")

    def _made(self) -> nn.Module:
        return self.recipe.build(self.role, self.in_channels, self.classes)


class ModuleProgress(Header):
    """Of a module of the user's, which `neurodeploy.distill` trained; for the fields that every header has, see `Header`.

    Attributes:
        kind: tells it from the header of a recipe's network.
        name: of its class.
        source: `package.module:name` that makes it; None if nothing was known that does.
        sample_shape: of a sample, without the batch.
        training: length, optimizer and schedule.
        loss, augmentation: the terms and augmentations, as recipes write them.
        precision: of the arithmetic in training.
        data: the data set; None if it was given in memory.
        data_note: what the data are, in a sentence.
        data_sha256: of the labels and the first samples of the training set.
        teacher: what taught it, in a word; None without a teacher.
        teacher_sha256: of the teacher's weights.
    """

    identity: ClassVar[tuple[str, ...]] = (
        "name",
        "sample_shape",
        "classes",
        "training",
        "loss",
        "augmentation",
        "precision",
        "seed",
        "data_sha256",
        "teacher_sha256",
    )
    kind: Literal["module"] = "module"
    name: str
    source: str | None = None
    sample_shape: tuple[int, ...]
    training: TrainingSettings
    loss: tuple[dict[str, Any], ...]
    augmentation: tuple[dict[str, Any], ...] = ()
    precision: Precision = "float32"
    data: AnyDataSet | None = None
    data_note: str
    data_sha256: str
    teacher: str | None = None
    teacher_sha256: str | None = None

    @property
    def settings(self) -> TrainingSettings:
        return self.training

    @property
    def title(self) -> str:
        return self.source or self.name

    @property
    def data_set(self) -> AnyDataSet | None:
        return self.data

    @property
    def data_words(self) -> str:
        return self.data_note

    def check_samples(self, shape: tuple[int, ...], origin: str, *, timed: bool = False) -> None:  # noqa: ARG002
        if shape != self.sample_shape:
            raise UserError(f"{origin}: samples of shape {shape} found, {self.sample_shape} expected by {self.title}")

    def _made(self) -> nn.Module:
        if self.source is None:
            raise UserError(
                f"made of a {self.name} whose code is not known; load it with neurodeploy.load(path, module=…), or train it "
                'with source="my_module:make"'
            )
        return module_named(self.source, what="module")
