"""Finding the model that a command is asked about: a checkpoint, or a torch module of the user's own code."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy import checkpoint
from neurodeploy.arrays import read_array
from neurodeploy.errors import UserError


@dataclass(frozen=True)
class Model:
    """A model to be measured.

    Attributes:
        name: for reports.
        module: in evaluation mode.
        test_samples: of the checkpoint's own data set; None for a torch module.
        data: what `test_samples` are, in a sentence.
    """

    name: str
    module: nn.Module
    test_samples: Tensor | None
    data: str


def load_model(place: str) -> Model:
    """A checkpoint by its path, or `package.module:name`, where the name is a torch module or a function that makes one.

    The second form imports and runs the user's own code, from the current folder too.

    Raises:
        UserError: nothing usable is there; the message says what was found.
    """
    if ":" not in place or place.endswith(".safetensors"):
        loaded = checkpoint.load(Path(place))
        data = loaded.progress.recipe.data.load()
        return Model(checkpoint.describe(loaded.progress), loaded.network, data.test_samples, data.note)
    path, _, name = place.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(path), name, None)
    except ImportError as error:
        raise UserError(f"{place}: cannot be imported: {error}") from None
    finally:
        sys.path.pop(0)
    if found is None:
        raise UserError(f"{place}: module {path} has no name {name!r}")
    module = found if isinstance(found, nn.Module) or not callable(found) else found()
    if not isinstance(module, nn.Module):
        raise UserError(f"{place}: {type(module).__name__} found, a torch module or a function that makes one expected")
    return Model(place, module.eval(), None, "samples given by --input")


def inputs_for(model: Model, path: Path | None) -> Tensor:
    """The samples `[N, …]` of a `.npy` file, or the model's own test set.

    Raises:
        UserError: neither is there, or the file is damaged or holds no numbers.
    """
    if path is None:
        if model.test_samples is None:
            raise UserError(f"{model.name}: a torch module brings no data of its own; give samples with --input samples.npy")
        return model.test_samples
    values = read_array(path)
    if values.dtype.kind not in "fiub" or values.ndim < 2 or len(values) == 0:
        raise UserError(f"{path}: an array of numbers [N, …] with at least one sample expected")
    return torch.from_numpy(values.astype(np.float32))
