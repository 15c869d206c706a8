"""Data that the user's own code makes: torch data sets and loaders, tensors and arrays."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError, field_validator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, default_collate

from neurodeploy.data.checking import checked_labels, classes_of
from neurodeploy.data.dataset import DataSet, DataSetSettings
from neurodeploy.data.generic import OwnDataSet
from neurodeploy.data.items import ItemReader, Key, generators_kept, items_of, seed_generators
from neurodeploy.data.npz import Arrays
from neurodeploy.data.samples import Samples
from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import callable_named, told
from neurodeploy.io.values import as_numbers, check_values

Part = tuple[Samples, Tensor]


class ItemSettings(OwnDataSet):
    """How data that somebody's code makes are understood.

    Attributes:
        sample, label: position in an item that is a tuple, or key of one that is a table, as Hugging Face's are.
        channels: 3 or 1: what Pillow images are converted to; none given: they must all be grey or RGB.
        hold: read all samples once and hold them in memory. An `IterableDataset`, which has no numbers, needs it.
        frames: T, if samples are event frames `[T, C, H, W]`.
        classes: K; none given: one more than the highest label.
        class_names: of the classes, for tables.
        scale, normalize, test_share, split_seed, workers: see `OwnDataSet`.
    """

    sample: Key = 0
    label: Key = 1
    channels: Literal[1, 3] | None = None
    hold: bool = False
    frames: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=2)
    class_names: tuple[str, ...] = ()

    @property
    def event_frames(self) -> int | None:
        return self.frames

    def data_set(self, train: Any, test: Any, name: str, *, split: bool) -> DataSet:
        """Data as they are given → a data set.

        Args:
            train, test: see `as_data_set`; `test` may be None.
            name: of the data set.
            split: hold a part of the training samples out, if there is no test set; else it is empty.

        Raises:
            UserError: see `as_data_set`.
        """
        samples, labels = self._part(train, name)
        shape = tuple(samples.shape[1:])
        if self.frames is not None and (shape[0] != self.frames or len(shape) < 3):
            raise UserError(f"{name}: samples of shape {shape} found, ({self.frames}, C, …) expected of {self.frames} frames")
        note = name
        if test is not None:
            test_samples, test_labels = self._part(test, f"{name}, test")
            if tuple(test_samples.shape[1:]) != shape:
                raise UserError(f"{name}, test: samples of shape {tuple(test_samples.shape[1:])} found, {shape} expected")
            classes = classes_of(labels, test_labels, name, self.classes)
        else:
            classes = classes_of(labels, labels[:0], name, self.classes)
            if split:
                samples, labels, test_samples, test_labels = self.split(samples, labels, self.class_names, name)
                note = f"{name}; {self.split_note()}"
            else:
                test_samples, test_labels = torch.zeros(0, *shape), labels[:0]
        if self.class_names and len(self.class_names) != classes:
            raise UserError(f"{name}: {len(self.class_names)} class names found for {classes} classes; one for each expected")
        note = f"{note}; {len(labels):,} for training and {len(test_labels):,} for the test"
        timed = self.frames is not None
        parts = samples, labels, test_samples, test_labels
        return self.finished(DataSet(name, *parts, classes, note, timed=timed, class_names=self.class_names))

    def _part(self, given: Any, origin: str) -> Part:
        """Samples and labels of one part."""
        if _is_pair_of_arrays(given):
            return self._of_arrays(given[0], given[1], origin)
        if _is_array(given):
            raise UserError(f"{origin}: samples without labels found; give a pair (x, y)")
        if isinstance(given, DataLoader):
            given = _behind(given, origin)
        reading = ItemReader(origin, self.sample, self.label, self.channels, self.scale)
        if isinstance(given, IterableDataset) or not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
            return self._of_stream(given, reading)
        items = items_of(given, reading, self.classes)
        return (items[:] if self.hold else items), items.labels

    def _of_arrays(self, x: Any, y: Any, origin: str) -> Part:
        if isinstance(x, Tensor):
            x = x.detach().cpu()
        values = as_numbers(x, f"{origin}: samples")
        if values.ndim < 2 or not values.size:
            raise UserError(f"{origin}: samples of shape {values.shape} found, [N, …] with at least one sample expected")
        check_values(values, f"{origin}: samples")
        labels = checked_labels(y, len(values), f"{origin}: labels", classes=self.classes)
        if isinstance(x, Tensor) and x.dtype == torch.float32:
            return x, labels
        arrays = Arrays(values, scale=self.scale)
        return (arrays if isinstance(x, np.memmap) else arrays[:]), labels

    def _of_stream(self, given: Any, reading: ItemReader) -> Part:
        """Everything that comes out of an iterable, in memory."""
        if not hasattr(given, "__iter__"):
            what = type(given).__name__
            raise UserError(f"{reading.origin}: {what} found; a torch Dataset, a DataLoader, or a pair of arrays expected")
        if not self.hold:
            raise UserError(
                f"{reading.origin}: a data set without numbers ({type(given).__name__}) found, which cannot be shuffled by a "
                "seed nor resumed; hold = true reads it once into memory"
            )
        samples, labels = list[Tensor](), list[int]()
        with generators_kept():
            seed_generators(0, 0)
            for number, item in enumerate(_through(given, reading.origin)):
                sample, label = reading.parts(item, number)
                if samples and sample.shape != samples[0].shape:
                    found, expected = tuple(sample.shape), tuple(samples[0].shape)
                    raise UserError(f"{reading.origin}: sample {number} has the shape {found}, {expected} expected")
                samples.append(sample)
                labels.append(reading.label_of(label, number))
        if not samples:
            raise UserError(f"{reading.origin}: no samples found, at least one expected")
        return torch.stack(samples), checked_labels(labels, len(samples), reading.origin, classes=self.classes)


class TorchDataSet(ItemSettings):
    """`kind = "torch"`: data that a function of the user's own makes.

    It returns a training and a test set, `(train, test)` or `{"train": …, "test": …}`, or a training set alone, of which a part
    is held out. Each is a torch `Dataset` (or anything with numbered items, such as Hugging Face's and tonic's), a `DataLoader`
    of one, or a pair of tensors or arrays `(x, y)`. Items of a `Dataset` are read when they are asked for.

    Attributes:
        factory: `package.module:function`, or a class derived from torch's `Dataset`; the module may be beside the recipe, or
            in the current folder. Other functions and classes of installed packages are not called.
        arguments: of the function, by name.
        sample, label, channels, hold, frames, classes, class_names: see `ItemSettings`.
        scale, normalize, test_share, split_seed, workers: see `OwnDataSet`.
    """

    kind: Literal["torch"] = "torch"
    factory: str
    arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)

    @field_validator("factory")
    @classmethod
    def _can_be_imported(cls, factory: str) -> str:
        """At once, since the folder of the recipe or checkpoint that names it is looked in while that is read."""
        callable_named(factory, what="factory", kind=Dataset)
        return factory

    def load(self) -> DataSet:
        """Call the function and look at what it made.

        Raises:
            UserError: it cannot be imported or fails, or see `as_data_set`.
        """
        function = callable_named(self.factory, what="factory", kind=Dataset)
        try:
            made = function(**self.arguments)
        except Exception as error:  # the user's own code may raise anything
            raise UserError(f"factory {self.factory!r}: {told(error)}") from None
        return self.data_set(*parts_of(made), self.factory, split=True)


class DataAtHand(ItemSettings):
    """Data that a caller has at hand.

    Attributes:
        name: for reports and messages.
        train_part, test_part: see `as_data_set`.
        held_out: hold a part of the training samples out if there is no test set.
    """

    name: str
    train_part: Any
    test_part: Any = None
    held_out: bool = False

    def load(self) -> DataSet:
        return self.data_set(self.train_part, self.test_part, self.name, split=self.held_out)


def as_data_set(
    train: Any, test: Any = None, *, name: str = "own data", test_share: float | None = None, **options: Any
) -> DataSet:
    """Data of any form → a data set, checked.

    Args:
        train: a pair of tensors or arrays `(x, y)` with `x` `[N, …]` and labels `[N]`; a torch `Dataset` or `DataLoader`; a
            data set of this toolkit, or its settings. Values are taken as they are, but for bytes (see `scale`).
        test: likewise. None: the test set is empty, or what `test_share` says.
        name: for reports and messages.
        test_share: part of the samples of every class to hold out for the test, where there is no test set.
        options: fields of `ItemSettings`, such as `normalize`, `classes`, `class_names`, `frames`, `hold`, `workers`.

    Raises:
        UserError: there are no samples, samples and labels differ in number, a value is not finite, a label is no whole number
            from 0 to K − 1, or the test set has other classes or another shape; the message names the sample.
    """
    if isinstance(train, DataSetSettings):
        train = train.load()
    if isinstance(train, DataSet):
        if test is not None or options or test_share is not None:
            raise UserError(f"{train.name}: a data set has its test set and options already; leave out test and options")
        return train
    if test is None:
        train, test = parts_of(train)
    content = {
        "kind": "given",
        "name": name,
        "train_part": train,
        "test_part": test,
        "held_out": test_share is not None,
        **options,
    }
    try:
        return DataAtHand.model_validate(content if test_share is None else {**content, "test_share": test_share}).load()
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def parts_of(given: Any) -> tuple[Any, Any]:
    """Training and test set of what was given; None for the latter if there is none."""
    if isinstance(given, Mapping) and "train" in given:
        return given["train"], given.get("test")
    if isinstance(given, tuple | list) and len(given) == 2 and not _is_pair_of_arrays(given):
        return given[0], given[1]
    return given, None


def _is_pair_of_arrays(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_array, given))


def _is_array(value: Any) -> bool:
    """An array, or a list of numbers, as labels are."""
    if isinstance(value, Tensor | np.ndarray):
        return True
    return isinstance(value, Sequence) and len(value) > 0 and isinstance(value[0], int | float | np.number)


def _behind(loader: DataLoader[Any], origin: str) -> Any:
    """The data set of a loader that does nothing else to it than shuffle and batch.

    Raises:
        UserError: it chooses samples or makes batches in a way of its own, which would be left out.
    """
    if isinstance(loader.dataset, IterableDataset):
        return loader.dataset
    if loader.collate_fn is not default_collate:
        raise UserError(
            f"{origin}: a DataLoader with a collate_fn of its own found, which would be left out; give its data set"
        )
    plain = isinstance(loader.sampler, SequentialSampler) or (
        isinstance(loader.sampler, RandomSampler) and not loader.sampler.replacement
    )
    if loader.batch_sampler is None or not plain:
        raise UserError(
            f"{origin}: a DataLoader with a sampler of its own found, which would be left out; give a Subset instead"
        )
    return loader.dataset


def _through(given: Any, origin: str) -> Any:
    """The items of an iterable; errors of the user's code in one line."""
    number = 0
    try:
        for item in given:
            yield item
            number += 1
    except UserError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise UserError(f"{origin}: sample {number}: {told(error)}") from None
