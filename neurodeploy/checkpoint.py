"""Checkpoints: one safetensors file with the tensors, and all else as JSON in its header. Never pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor, nn

from neurodeploy.errors import UserError
from neurodeploy.files import atomic_file
from neurodeploy.recipe import Recipe

_FORMAT = 1


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
        UserError, Failure: it cannot be written (see `neurodeploy.files.writing`).
    """
    groups = {"network": network.state_dict(), **others}
    named = {f"{group}/{name}": tensor for group, members in groups.items() for name, tensor in members.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}
    content = safetensors.save(tensors, metadata={"neurodeploy": progress.model_dump_json()})
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint and rebuild its network.

    Raises:
        UserError: the file is missing, damaged, not a checkpoint of this toolkit, or its tensors do not fit the network.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; a checkpoint (.safetensors) written by `neurodeploy train` is expected")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable checkpoint (safetensors expected): {error}") from None
    if "neurodeploy" not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a checkpoint of neurodeploy (no such header)")
    try:
        progress = Progress.model_validate_json(metadata["neurodeploy"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "header"
        raise UserError(f"{path}: header field {place}: {first['msg']}; written by another version?") from None
    if progress.role not in progress.recipe.roles:
        raise UserError(f"{path}: header field role: {progress.role!r} found, one of {progress.recipe.roles} expected")
    network = build_network(progress)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, member = name.partition("/")
        groups.setdefault(group, {})[member] = tensor
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
