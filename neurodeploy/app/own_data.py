"""Which samples a command uses: a model's own, or those that its options name; checked before anything long begins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter
from torch import Tensor

from neurodeploy.app.model import Model, NirChoices, as_fed, inputs_for, load_model, of_checkpoint
from neurodeploy.app.origins import is_chip_file, is_nir, is_onnx_file
from neurodeploy.app.ready import located
from neurodeploy.data import AnyDataSet, DataSet, DataSetSettings, Normalization, Samples
from neurodeploy.data.checking import checked_labels
from neurodeploy.data.samples import Normalized, as_stored, joined, numbers_of
from neurodeploy.graph import Graph
from neurodeploy.io.arrays import read_array
from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import is_reference, looking_in
from neurodeploy.io.kinds import is_foreign, kind_of
from neurodeploy.io.reading import text_of, toml_tables
from neurodeploy.recipe.reading import faults_named
from neurodeploy.training import checkpoint
from neurodeploy.training.checkpoint import Header

Part = Literal["test", "training", "all"]
_AFTER_COLON = {"folder": "folder", "idx": "folder", "npz": "path", "torch": "factory"}
"""What a generic kind's `kind:REST` gives."""
_HANDED_ON = ("scale", "normalize")
"""How values are read; a checkpoint's network wants it as in its training."""
_WORDS = {"test": "test set", "training": "training set", "all": "training and test set"}


@dataclass(frozen=True)
class DataChoice:
    """What the options of a command say.

    Attributes:
        data: see `data_named`; None for the model's own.
        part: of the data.
        inputs: a `.npy` file of samples `[N, …]` as the model takes them, instead.
        labels: a `.npy` file of their labels.
    """

    data: str | None = None
    part: Part = "test"
    inputs: Path | None = None
    labels: Path | None = None

    def __post_init__(self) -> None:
        if self.data is not None and self.inputs is not None:
            raise UserError("--data, --input: two sources of samples; give one of them")
        if self.labels is not None and self.inputs is None:
            raise UserError("--labels: belong to the samples of --input, which is missing; --data has labels of its own")
        if self.part != "test" and self.inputs is not None:
            raise UserError("--part: of a data set, and --input has no parts; leave it out")


def model_with(
    source: str, choice: DataChoice, nir: NirChoices | None = None, *, say: Callable[[str], None] = lambda _: None
) -> Model:
    """The model at a place, with the samples and labels that a command is to use as its `test_samples` and `test_labels`.

    Args:
        source: see `load_model`.
        choice: what the options say; nothing: the model's own data.
        nir: how a NIR file is understood.
        say: told what was assumed of the model, before its data are looked at.

    Raises:
        UserError: model or data cannot be used, or do not fit each other; the message names what.
    """
    source = located(source, say)
    if _is_checkpoint(source):
        return _checkpoint_with(Path(source), choice)
    model = load_model(source, nir)
    for statement in (*model.statements, *(f"warning: {text}" for text in model.warnings)):
        say(f"{source}: {statement}")
    if choice.data is not None:
        model = _with_data(model, data_named(choice.data), choice)
    elif choice.inputs is not None:
        model = _with_arrays(model, choice)
    elif choice.part != "test":
        raise UserError(f"--part: {source} has no data set of its own; give one with --data")
    return model


def is_module(source: str) -> bool:
    """Whether a model's place is the name of a torch module, and no path."""
    return (
        ":" in source
        and not source.endswith((".safetensors", ".nir", ".net", ".circuit", ".json", ".onnx"))
        and not Path(source).exists()
    )


def _is_checkpoint(source: str) -> bool:
    return not (Path(source).is_dir() or is_nir(source) or is_chip_file(source) or is_onnx_file(source) or is_module(source))


def _checkpoint_with(path: Path, choice: DataChoice) -> Model:
    loaded = checkpoint.load(path)
    header = loaded.progress
    if choice.inputs is not None:
        return _on_arrays(loaded, choice)
    if choice.data is None:
        if header.data_set is None and choice.part != "test":
            raise UserError(f"--part: {path} knows no data set; give one with --data")
        model = of_checkpoint(loaded)
        return model if choice.part == "test" else _of_part(model, loaded.load_data(), choice.part)
    with looking_in(path.resolve().parent):
        data = data_named(choice.data, like=header.data_set)
    data = _fitting(data, header, choice.data)
    return _of_part(of_checkpoint(loaded, data=data), data, choice.part)


def _on_arrays(loaded: checkpoint.Checkpoint, choice: DataChoice) -> Model:
    """A checkpoint's network on samples of a file; its own data are not looked at."""
    header = loaded.progress
    given = _with_arrays(Model(header.title, loaded.network, None, ""), choice)
    samples, labels = given.test_samples, given.test_labels
    assert samples is not None
    timed = header.data_set is not None and header.data_set.event_frames is not None
    header.check_samples(tuple(samples.shape[1:]), str(choice.inputs), timed=timed)
    known = torch.zeros(len(samples), dtype=torch.long) if labels is None else labels
    data = DataSet("input", samples, known, samples, known, header.classes, given.data, timed=timed)
    return replace(of_checkpoint(loaded, data=data), test_labels=labels)


def data_named(text: str, like: DataSetSettings | None = None) -> DataSet:
    """The data set that a text names.

    Args:
        text: a TOML file with a table `[data]`, such as a recipe; `folder:PATH`, `npz:PATH` or `torch:my_module:function`; a
            kind alone, such as `cifar10`; or the import path of one's own, `my_module:Kind`.
        like: data that a network was trained on. Where `text` is no TOML file, scale and normalisation are taken from it, and
            of the same kind everything that `text` does not say.

    Raises:
        UserError: there is no such file or kind, its data cannot be read, or a TOML file has another scale than `like`.
    """
    if text.endswith(".toml"):
        settings = _data_of_file(Path(text))
        scale, expected = (getattr(one, "scale", None) for one in (settings, like))
        if None not in (scale, expected) and scale != expected:
            raise UserError(f'--data {text}: scale = "{scale}" found, "{expected}" expected as in the training of the network')
        return settings.load()
    head, _, rest = text.partition(":")
    content: dict[str, Any]
    if head in _AFTER_COLON and rest:
        content = {"kind": head, _AFTER_COLON[head]: rest}
    elif not rest or is_reference(text):
        content = {"kind": text}
    else:
        content = {"kind": head, "folder": rest}
    if like is not None and kind_of(like) == content["kind"]:
        content = {**like.model_dump(), **content}
    settings = _settings(content, f"--data {text}")
    handed = {name: getattr(like, name) for name in _HANDED_ON if hasattr(like, name) and hasattr(settings, name)}
    return settings.model_copy(update=handed).load()


def _data_of_file(path: Path) -> DataSetSettings:
    content = toml_tables(text_of(path, "a TOML file with a table [data]"), f"--data {path}")
    if not isinstance(content.get("data"), dict):
        raise UserError(f"--data {path}: no table [data] found; {', '.join(content) or 'nothing'} there")
    with looking_in(path.resolve().parent):
        return _settings(content["data"], f"{path}: data")


def _settings(content: dict[str, Any], origin: str) -> DataSetSettings:
    with faults_named(origin):
        settings: DataSetSettings = TypeAdapter(AnyDataSet).validate_python(content)
    return settings


def _fitting(data: DataSet, header: Header, text: str) -> DataSet:
    """Data as a checkpoint's network takes them.

    Raises:
        UserError: they have another shape, other classes, or are normalised in another way than those of its training.
    """
    header.check_samples(tuple(data.train_samples.shape[1:]), f"--data {text}", timed=data.timed)
    if data.classes != header.classes:
        found = f"{data.classes} classes found, {header.classes} expected"
        raise UserError(f"--data {text}: {found} as in the training of the network")
    if data.class_names and header.class_names and data.class_names != header.class_names:
        own, other = next((a, b) for a, b in zip(header.class_names, data.class_names, strict=True) if a != b)
        raise UserError(
            f"--data {text}: class {other!r} found where the network was trained on {own!r}; the same ones expected"
        )
    settings = header.data_set
    if settings is None or (is_foreign(settings) and not hasattr(settings, "normalize")):
        return data  # how its own data were normalised is not known
    wanted: Normalization | None = getattr(settings, "normalize", None)
    if data.normalization == wanted:
        return data
    if data.normalization is not None:
        trained = f"on {wanted}" if wanted is not None else "without"
        raise UserError(f"--data {text}: normalised by {data.normalization}, the network was trained {trained}; leave it out")
    assert wanted is not None
    train, test = (Normalized(x, wanted, data.timed) for x in (data.train_samples, data.test_samples))
    return replace(data, train_samples=train, test_samples=test, normalization=wanted)


def _of_part(model: Model, data: DataSet, part: Part) -> Model:
    """A model with that part of its data set."""
    if part == "test":
        return model
    samples, labels = data.train_samples, data.train_labels
    if part == "all":
        samples, labels = joined(samples, data.test_samples), torch.cat([labels, data.test_labels])
    return replace(model, test_samples=samples, test_labels=labels, data=f"{data.note} ({_WORDS[part]})")


def _with_data(model: Model, data: DataSet, choice: DataChoice) -> Model:
    """A bundle, NIR file or module with samples of a data set, as it takes them."""
    whole = replace(
        model,
        test_samples=data.test_samples,
        test_labels=data.test_labels,
        data=data.note,
        workers=data.workers,
        class_names=data.class_names,
    )
    whole = _of_part(whole, data, choice.part)
    samples = whole.test_samples
    assert samples is not None
    if model.normalization is not None and data.normalization not in (None, model.normalization):
        raise UserError(
            f"--data {choice.data}: normalised by {data.normalization}, {model.name} by {model.normalization}; leave it out"
        )
    if model.normalizes:
        samples = as_stored(samples)
    elif model.normalization is not None and data.normalization is None:
        samples = Normalized(samples, model.normalization, data.timed)
    if model.graph is not None and not model.deployed:
        samples = _fed(model.graph, samples, model.steps, f"--data {choice.data}")
    elif model.test_samples is not None and samples.shape[1:] != model.test_samples.shape[1:]:
        found, expected = tuple(samples.shape[1:]), tuple(model.test_samples.shape[1:])
        raise UserError(f"--data {choice.data}: samples of shape {found} found, {expected} expected by {model.name}")
    return replace(whole, test_samples=samples, normalization=model.normalization or data.normalization)


def _with_arrays(model: Model, choice: DataChoice) -> Model:
    samples, labels = inputs_for(model, choice.inputs), None
    if choice.labels is not None:
        labels = checked_labels(read_array(choice.labels), len(samples), choice.labels)
    return replace(model, test_samples=samples, test_labels=labels, data=str(choice.inputs))


@dataclass(frozen=True, eq=False)
class Repeated:
    """Static samples as sequences, each `steps` times; repeated when they are asked for."""

    samples: Samples
    steps: int

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.samples), self.steps, *self.samples.shape[1:]))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        batch = self.samples[numbers_of(index, len(self))]
        return batch.unsqueeze(1).expand(-1, self.steps, *batch.shape[1:]).contiguous()


def _fed(graph: Graph, samples: Samples, steps: int | None, origin: str) -> Samples:
    """Samples of a data set as the graph of a NIR file takes them; see `as_fed`."""
    as_fed(graph, samples[:1], steps, Path(origin))  # says what is wrong with their shape
    return Repeated(samples, steps) if graph.input.timed and steps is not None else samples
