"""Checkpoints: one safetensors file with the tensors, and all else as JSON in its header. Never pickle."""

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from torch import Tensor, nn

from neurodeploy.io import tensors
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe
from neurodeploy.recipe.sections import TrainingSettings

_FORMAT = 1
_KEY = "neurodeploy"


class Header(BaseModel):
    """The JSON part of a checkpoint: what was trained, and how far.

    Attributes:
        format: version of this layout.
        seed: of weights and batches.
        epoch: epochs that are complete.
        stopped: ended before its last epoch, because the validation accuracy no longer rose.
        best_accuracy, epochs_since_best: of early stopping so far.
        scaler: state of the loss scaling in float16.
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

    @property
    def complete(self) -> bool:
        return self.stopped or self.epoch >= self.settings.epochs

    @property
    @abstractmethod
    def settings(self) -> TrainingSettings:
        """Length, optimizer and schedule of the training."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What was trained, in a word or two: `digits/student`."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The untrained network that the weights belong to.

        Raises:
            UserError: it cannot be built.
        """


class Progress(Header):
    """Of a network of a recipe.

    Attributes:
        recipe: the whole recipe that the network is trained by.
        role: "teacher", "source" or the name of a student.
        in_channels, classes: what the network was built for.
    """

    identity: ClassVar[tuple[str, ...]] = ("recipe", "role", "seed", "in_channels", "classes")
    recipe: Recipe
    role: str
    in_channels: int = Field(ge=1)
    classes: int = Field(ge=2)

    @field_validator("role")
    @classmethod
    def _is_of_the_recipe(cls, role: str, info: ValidationInfo) -> str:
        recipe = info.data.get("recipe")
        if isinstance(recipe, Recipe) and role not in recipe.roles:
            raise ValueError(f"{role!r} found, one of {recipe.roles} expected")
        return role

    @property
    def settings(self) -> TrainingSettings:
        return self.recipe.training(self.role)

    @property
    def title(self) -> str:
        return f"{self.recipe.name}/{self.role}"

    def build(self) -> nn.Module:
        recipe = self.recipe
        return recipe.network_of(self.role).build(self.in_channels, self.classes, recipe.activations(self.role))


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        progress: the JSON part.
        network: the network with its weights, on the CPU, in evaluation mode.
        others: group → name → tensor: the state of the optimizer, the moving average, the best weights; what a resumed
            training needs, nothing once it is complete.
    """

    progress: Progress
    network: nn.Module
    others: dict[str, dict[str, Tensor]]

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one group; empty if there are none."""
        return self.others.get(name, {})


def save(path: Path, network: nn.Module, progress: Header, others: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write a checkpoint atomically: the file at `path` is always a whole one.

    Args:
        path: of the file.
        network: whose weights are kept.
        progress: the JSON part.
        others: see `Checkpoint`.

    Raises:
        UserError, Failure: it cannot be written (see `neurodeploy.io.files.writing`).
    """
    tensors.write(path, _KEY, progress, {"network": network.state_dict(), **others})


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and rebuild its network.

    Raises:
        UserError: the file is missing, damaged, not a checkpoint of this toolkit, or its tensors do not fit the network.
    """
    progress, groups = read(path)
    network = progress.build()
    fill(network, groups.pop("network", {}), path)
    return Checkpoint(progress, network.eval(), groups)


def read(path: Path) -> tuple[Progress, dict[str, dict[str, Tensor]]]:
    """A checkpoint's JSON part and its groups of tensors; "network" holds the weights.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this toolkit.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; a checkpoint (.safetensors) written by `neurodeploy train` is expected")
    return tensors.read(path, _KEY, Progress)


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Give a network the weights of a checkpoint.

    Raises:
        UserError: they do not fit it, or are not finite; the message names the tensor.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: tensors do not fit the network of its recipe: {_first_fault(error)}") from None
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{path}: tensor {name} holds values that are not finite; train again with a lower learning rate")


def describe(progress: Header) -> str:
    """A checkpoint in a few words: `digits/student, seed 0, epoch 20`."""
    return f"{progress.title}, seed {progress.seed}, epoch {progress.epoch}"


def _first_fault(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return json.dumps(lines[min(1, len(lines) - 1)])[1:-1]
