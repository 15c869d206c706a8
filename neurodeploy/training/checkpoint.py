"""Checkpoints: one safetensors file with the tensors, and all else as JSON in its header. Never pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from neurodeploy.io import tensors
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe

_FORMAT = 1
_KEY = "neurodeploy"


class Progress(BaseModel):
    """The JSON part of a checkpoint.

    Attributes:
        format: version of this layout.
        recipe: the whole recipe that the network is trained by.
        role: "teacher", "source" or the name of a student.
        seed: seed of the run.
        epoch: epochs that are complete.
        in_channels, classes: what the network was built for.
        stopped: ended before its last epoch, because the validation accuracy no longer rose.
        best_accuracy, epochs_since_best: of early stopping so far.
        scaler: state of the loss scaling in float16.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: int = Field(default=_FORMAT, ge=_FORMAT, le=_FORMAT)
    recipe: Recipe
    role: str
    seed: int
    epoch: int = Field(ge=0)
    in_channels: int = Field(ge=1)
    classes: int = Field(ge=2)
    stopped: bool = False
    best_accuracy: float | None = None
    epochs_since_best: int = Field(default=0, ge=0)
    scaler: dict[str, float] = Field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return self.stopped or self.epoch >= self.recipe.training(self.role).epochs


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


def save(path: Path, network: nn.Module, progress: Progress, others: Mapping[str, Mapping[str, Tensor]]) -> None:
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
    if not path.is_file():
        raise UserError(f"{path}: no such file; a checkpoint (.safetensors) written by `neurodeploy train` is expected")
    progress, groups = tensors.read(path, _KEY, Progress)
    if progress.role not in progress.recipe.roles:
        raise UserError(f"{path}: header field role: {progress.role!r} found, one of {progress.recipe.roles} expected")
    network = build_network(progress)
    weights = groups.pop("network", {})
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: tensors do not fit the network of its recipe: {_first_fault(error)}") from None
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{path}: tensor {name} holds values that are not finite; train again with a lower learning rate")
    return Checkpoint(progress, network.eval(), groups)


def build_network(progress: Progress) -> nn.Module:
    """The untrained network that a checkpoint's weights belong to."""
    recipe = progress.recipe
    return recipe.network_of(progress.role).build(progress.in_channels, progress.classes, recipe.activations(progress.role))


def describe(progress: Progress) -> str:
    """A checkpoint in a few words: `digits/student, seed 0, epoch 20`."""
    return f"{progress.recipe.name}/{progress.role}, seed {progress.seed}, epoch {progress.epoch}"


def _first_fault(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return json.dumps(lines[min(1, len(lines) - 1)])[1:-1]
