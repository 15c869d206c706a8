"""Finding the model that a command is asked about: a checkpoint, a bundle, a NIR file, or a torch module of the user's code."""

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
from neurodeploy.artefact import ArtefactModule
from neurodeploy.data import DataSet
from neurodeploy.deployment import deploy
from neurodeploy.errors import UserError
from neurodeploy.graph import Graph
from neurodeploy.graph.module import GraphModule
from neurodeploy.imports import NirChoices, as_fed, is_nir
from neurodeploy.summary import places_of
from neurodeploy.targets import HeadCut
from neurodeploy_energy.deployment import Place
from neurodeploy_exporters.artefact import read_artefact

BATCH = 250


@dataclass(frozen=True)
class Model:
    """A model to be measured.

    Attributes:
        name: for reports.
        module: in evaluation mode.
        test_samples: of the checkpoint's own data set, or the sample of a bundle; None for a NIR file or a torch module.
        data: what `test_samples` are, in a sentence.
        test_labels: of `test_samples`.
        places: layer name → part of the deployed network; empty for a torch module, and for one that cannot be cut.
        statements: what was assumed of a NIR file, or what fires a bundle's spikes, a sentence each.
        graph: of a NIR file.
        steps: how often a NIR file's network is fed a static sample; None if samples are sequences.
        batch: samples to run at a time, at most.
        deployed: an artefact, whose runtimes compute on the CPU and not on the machine's accelerators.
    """

    name: str
    module: nn.Module
    test_samples: Tensor | None
    data: str
    test_labels: Tensor | None = None
    places: dict[str, Place] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    graph: Graph | None = None
    steps: int | None = None
    batch: int = BATCH
    deployed: bool = False


def load_model(place: str, nir: NirChoices | None = None) -> Model:
    """A checkpoint, a bundle's folder or a NIR file by its path, or `package.module:name` of a torch module or a function.

    The last form imports and runs the user's own code, from the current folder too; a function makes the module. `nir` says how
    a NIR file is understood.

    Raises:
        UserError: nothing usable is there; the message says what was found.
    """
    if Path(place).is_dir():
        return of_bundle(Path(place))
    if is_nir(place):
        return _of_nir(Path(place), nir or NirChoices())
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


def _of_nir(path: Path, choices: NirChoices) -> Model:
    reading = choices.read(path)
    graph = reading.graph
    return Model(
        path.stem,
        GraphModule(graph, batch_first=graph.input.timed),
        None,
        "samples given by --input",
        places=_places(graph),
        statements=reading.statements,
        graph=graph,
        steps=choices.steps,
    )


def of_bundle(folder: Path) -> Model:
    """A bundle, whose every spike its artefacts fire; its samples are those that it carries.

    Raises:
        UserError: it is no bundle, or damaged.
    """
    artefact = read_artefact(folder)
    manifest, module = artefact.bundle.manifest, ArtefactModule(artefact)
    inputs = torch.from_numpy(artefact.bundle.sample().inputs)
    samples = inputs.transpose(0, 1).contiguous() if manifest.timed_input and inputs.ndim > 1 else inputs
    return Model(
        f"{manifest.model} ({manifest.target} bundle)",
        module,
        samples,
        f"the sample of the bundle {folder}, {len(samples)} inputs",
        places=dict(artefact.places) or _places(artefact.graph),
        statements=(f"spikes fired by {artefact.origin}",),
        batch=min(BATCH, module.batch),
        deployed=True,
    )


def of_checkpoint(loaded: checkpoint.Checkpoint, *, data: DataSet | None = None) -> Model:
    """A checkpoint's network with its test set; `data`: its data set, if that has been loaded already."""
    progress = loaded.progress
    data = progress.recipe.data.load() if data is None else data
    places: dict[str, Place] = {}
    if progress.role not in progress.recipe.relu_roles:
        with suppress(UserError):  # a network without a form as a graph is counted all the same
            places = _places(deploy(loaded.network, data).graph, progress.recipe.export.head_cut)
    name = checkpoint.describe(progress)
    return Model(name, loaded.network, data.test_samples, data.note, data.test_labels, places)


def _places(graph: Graph, head_cut: HeadCut = "last-spike") -> dict[str, Place]:
    """Layer name → part of the deployed network; empty for one that cannot be cut."""
    try:
        return places_of(graph, head_cut)
    except UserError:
        return {}


def _made_by(function: Callable[[], object], place: str) -> object:
    try:
        return function()
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{place}: makes no model when called without arguments: {_told(error)}") from None


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def inputs_for(model: Model, path: Path | None) -> Tensor:
    """The samples `[N, …]` of a `.npy` file, as the model takes them, or its own test set.

    Raises:
        UserError: neither is there, or the file is damaged, holds no numbers, or samples of another shape than the model's.
    """
    if path is None:
        if model.test_samples is None:
            raise UserError(f"{model.name}: brings no data of its own; give samples with --input samples.npy")
        return model.test_samples
    values = read_array(path)
    if values.dtype.kind not in "fiub" or values.ndim < 2 or len(values) == 0:
        raise UserError(f"{path}: an array of numbers [N, …] with at least one sample expected")
    expected = None if model.test_samples is None else tuple(model.test_samples.shape[1:])
    if expected is not None and values.shape[1:] != expected:
        raise UserError(f"{path}: samples of shape {values.shape[1:]} found, {expected} expected by {model.name}")
    samples = torch.from_numpy(values.astype(np.float32))
    return samples if model.graph is None else as_fed(model.graph, samples, model.steps, path)
