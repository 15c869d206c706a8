"""Checkpoints: one safetensors file with the tensors, and all else as JSON in its header. Never pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from neurodeploy.data import DataSet
from neurodeploy.io import tensors
from neurodeploy.io.errors import UserError
from neurodeploy.training.carried import CARRIED, standing_in
from neurodeploy.training.header import Header as Header
from neurodeploy.training.header import ModuleProgress as ModuleProgress
from neurodeploy.training.header import Progress as Progress

_KEY = "neurodeploy"
HELD = "graph"
"""The group of what a network is built of and has no weights of its own for."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read from disk.

    Attributes:
        progress: the JSON part.
        network: the network with its weights, on the CPU, in evaluation mode.
        others: group → name → tensor: the state of the optimizer, the moving average, the best weights; what a resumed
            training needs, nothing once it is complete.
        folder: that it is in.
    """

    progress: Header
    network: nn.Module
    others: dict[str, dict[str, Tensor]]
    folder: Path

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors of one group; empty if there are none."""
        return self.others.get(name, {})

    def load_data(self) -> DataSet:
        """The very data that the network was trained on; where these are unavailable, the few samples that are beside it.

        Raises:
            UserError: they cannot be read, and no samples are beside the checkpoint.
        """
        try:
            return self.progress.load_data()
        except UserError as error:
            carried = self.folder / CARRIED
            if not carried.is_file():
                raise
            return standing_in(carried, self.progress, str(error))


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


def load(path: Path, *, module: nn.Module | None = None) -> Checkpoint:
    """Read a checkpoint and rebuild its network.

    Args:
        path: of the file.
        module: of the user's, which the weights are for; given them, and the network of the answer. None: the checkpoint knows
            how its network is made.

    Raises:
        UserError: the file is missing, damaged, not a checkpoint of this toolkit, its network cannot be made again, or its
            tensors do not fit the network.
    """
    progress, groups = read(path)
    weights, held = groups.pop("network", {}), groups.pop(HELD, {})
    network = _built(progress, path, {**held, **weights}) if module is None else module
    fill(network, weights, path)
    return Checkpoint(progress, network.eval(), groups, path.parent)


def _built(progress: Header, path: Path, arrays: Mapping[str, Tensor]) -> nn.Module:
    with tensors.looking_beside(path):
        if isinstance(progress, Progress):
            return progress.build(arrays)
        try:
            return progress.build(arrays)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def read(path: Path) -> tuple[Header, dict[str, dict[str, Tensor]]]:
    """A checkpoint's JSON part and its groups of tensors; "network" holds the weights.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this toolkit.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; a checkpoint (.safetensors) written by `neurodeploy train` is expected")
    return tensors.read(path, _KEY, _header)


def _header(text: str) -> Header:
    """The kind of header that a text is: those of recipes have no kind."""
    try:
        kind = json.loads(text).get("kind")
    except (ValueError, AttributeError):
        kind = None
    return (Progress if kind is None else ModuleProgress).model_validate_json(text)


def fill(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Give a network the weights of a checkpoint.

    Raises:
        UserError: they do not fit it, or are not finite; the message names the tensor. The network is left as it was.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{path}: tensor {name} holds values that are not finite; train again with a lower learning rate")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        network.load_state_dict(before)
        raise UserError(f"{path}: tensors do not fit the network: {_first_fault(error)}") from None


def describe(progress: Header) -> str:
    """A checkpoint in a few words: `digits/student, seed 0, epoch 20`."""
    return f"{progress.title}, seed {progress.seed}, epoch {progress.epoch}"


def _first_fault(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return json.dumps(lines[min(1, len(lines) - 1)])[1:-1]
