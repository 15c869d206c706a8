"""Finding the model that a command is asked about: a checkpoint, or a torch module of the user's own code."""

import importlib
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy import checkpoint
from neurodeploy.arrays import read_array
from neurodeploy.data import DataSet
from neurodeploy.errors import UserError
from neurodeploy.graph import fold_batch_norm
from neurodeploy.graph.tracing import trace
from neurodeploy.summary import places_of
from neurodeploy_energy.deployment import Place


@dataclass(frozen=True)
class Model:
    """A model to be measured.

    Attributes:
        name: for reports.
        module: in evaluation mode.
        test_samples: of the checkpoint's own data set; None for a torch module.
        data: what `test_samples` are, in a sentence.
        test_labels: of `test_samples`.
        places: layer name → part of the deployed network; empty for a torch module, and for one that cannot be cut.
    """

    name: str
    module: nn.Module
    test_samples: Tensor | None
    data: str
    test_labels: Tensor | None = None
    places: dict[str, Place] = field(default_factory=dict)


def load_model(place: str) -> Model:
    """A checkpoint by its path, or `package.module:name`, where the name is a torch module or a function that makes one.

    The second form imports and runs the user's own code, from the current folder too.

    Raises:
        UserError: nothing usable is there; the message says what was found.
    """
    if ":" not in place or place.endswith(".safetensors"):
        return of_checkpoint(checkpoint.load(Path(place)))
    path, _, name = place.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(path), name, None)
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{place}: cannot be imported: {_told(error)}") from None
    finally:
        sys.path.pop(0)
    if found is None:
        raise UserError(f"{place}: module {path} has no name {name!r}")
    module = found if isinstance(found, nn.Module) or not callable(found) else _made_by(found, place)
    if not isinstance(module, nn.Module):
        raise UserError(f"{place}: {type(module).__name__} found, a torch module or a function that makes one expected")
    return Model(place, module.eval(), None, "samples given by --input")


def of_checkpoint(loaded: checkpoint.Checkpoint, *, data: DataSet | None = None) -> Model:
    """A checkpoint's network with its test set; `data`: its data set, if that has been loaded already."""
    progress = loaded.progress
    data = progress.recipe.data.load() if data is None else data
    places: dict[str, Place] = {}
    if progress.role not in progress.recipe.relu_roles:
        with suppress(UserError):  # a network that cannot be cut is counted all the same
            graph = fold_batch_norm(trace(loaded.network, data.sample_shape, timed=data.timed))
            places = places_of(graph, progress.recipe.export.head_cut)
    name = checkpoint.describe(progress)
    return Model(name, loaded.network, data.test_samples, data.note, data.test_labels, places)


def _made_by(function: Callable[[], object], place: str) -> object:
    try:
        return function()
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{place}: makes no model when called without arguments: {_told(error)}") from None


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def inputs_for(model: Model, path: Path | None) -> Tensor:
    """The samples `[N, …]` of a `.npy` file, or the model's own test set.

    Raises:
        UserError: neither is there, or the file is damaged, holds no numbers, or samples of another shape than the model's.
    """
    if path is None:
        if model.test_samples is None:
            raise UserError(f"{model.name}: a torch module brings no data of its own; give samples with --input samples.npy")
        return model.test_samples
    values = read_array(path)
    if values.dtype.kind not in "fiub" or values.ndim < 2 or len(values) == 0:
        raise UserError(f"{path}: an array of numbers [N, …] with at least one sample expected")
    expected = None if model.test_samples is None else tuple(model.test_samples.shape[1:])
    if expected is not None and values.shape[1:] != expected:
        raise UserError(f"{path}: samples of shape {values.shape[1:]} found, {expected} expected by {model.name}")
    return torch.from_numpy(values.astype(np.float32))
