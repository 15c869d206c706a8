"""A torch `Dataset` of the user's own as samples: its items converted, checked, and drawn from their own seeds."""

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from neurodeploy.data.checking import checked_labels
from neurodeploy.data.dataset import Scale, from_bytes
from neurodeploy.data.samples import numbers_of
from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import told
from neurodeploy.io.screen import progress_console

Key = int | str
_PROBED = 16  # items that are compared with the labels that a data set gives all at once
_MANY = 2000  # items that take long enough to show how far it is


@dataclass(frozen=True)
class ItemReader:
    """How an item becomes a sample and a label.

    Attributes:
        origin: of the items, for messages.
        sample, label: position in an item that is a tuple, or key of one that is a table.
        channels: 3 or 1 to bring Pillow images to; None if they are grey or RGB all.
        scale: what a byte is worth.
    """

    origin: str
    sample: Key = 0
    label: Key = 1
    channels: Literal[1, 3] | None = None
    scale: Scale = "1/256"

    def of(self, dataset: Any, number: int) -> tuple[Tensor, Any]:
        """Sample and label, unchecked, of an item.

        Raises:
            UserError: the user's code failed, or the item has no such parts.
        """
        try:
            item = dataset[number]
        except Exception as error:  # the user's own code may raise anything
            raise UserError(f"{self.origin}: sample {number}: {told(error)}") from None
        return self.parts(item, number)

    def parts(self, item: Any, number: int) -> tuple[Tensor, Any]:
        """Sample and label of an item that has been read."""
        values = []
        for key, what in ((self.sample, "sample"), (self.label, "label")):
            try:
                values.append(item[key])
            except (KeyError, IndexError, TypeError):
                kind = f"keys {', '.join(map(str, item))}" if isinstance(item, Mapping) else type(item).__name__
                where = f"sample {number}: item with {kind}" if isinstance(item, Mapping) else f"sample {number}: {kind}"
                raise UserError(f"{self.origin}: {where} found, no {what} at {key!r} in it; name it in data.{what}") from None
        return self.converted(values[0], number), values[1]

    def converted(self, value: Any, number: int) -> Tensor:
        """A float32 sample."""
        if isinstance(value, Image.Image):
            value = self._pixels(value, number)
        try:
            tensor = value.detach().cpu() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError, RuntimeError):
            raise UserError(f"{self.origin}: sample {number}: {type(value).__name__} found, numbers expected") from None
        if tensor.is_complex() or not tensor.ndim:
            what = "complex values" if tensor.is_complex() else "a single value"
            raise UserError(f"{self.origin}: sample {number}: {what} found, an array of real numbers expected")
        sample = from_bytes(tensor, self.scale) if tensor.dtype == torch.uint8 else tensor.to(torch.float32)
        if not torch.isfinite(sample).all():
            place = (~torch.isfinite(sample)).nonzero()[0].tolist()
            fault = f"{sample[tuple(place)]} at {place}"
            raise UserError(f"{self.origin}: sample {number} holds values that are not finite ({fault}); remove or repair it")
        return sample

    def _pixels(self, image: Image.Image, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        mode = {None: image.mode, 1: "L", 3: "RGB"}[self.channels]
        if mode not in ("L", "RGB"):
            raise UserError(f"{self.origin}: sample {number}: an image of mode {mode} found; set data.channels to 1 or 3")
        pixels = np.asarray(image.convert(mode), np.uint8)
        return pixels[None].copy() if mode == "L" else pixels.transpose(2, 0, 1).copy()

    def label_of(self, value: Any, number: int) -> int:
        """A label as a whole number.

        Raises:
            UserError: it is none.
        """
        if isinstance(value, int):
            return value
        try:
            found = float(value)
        except (TypeError, ValueError, RuntimeError):
            found = float("nan")
        if not found.is_integer():
            shown = " ".join(str(value).split())[:40]
            raise UserError(f"{self.origin}: label of sample {number} is {shown}, a whole number expected")
        return int(found)


@dataclass(frozen=True, eq=False)
class Items:
    """A map-style data set as samples.

    What an item draws at random, as an augmentation of the user's does, follows from `seed` and its number alone: it is the
    same in every worker and process. Torch's, numpy's and Python's generators are left as they were.

    Attributes:
        dataset: with `__len__` and `__getitem__`.
        reading: how its items are understood.
        labels: int64 `[N]`; an item whose label is another one is refused.
        sample_shape: of each sample.
        seed: of random draws.
    """

    dataset: Any
    reading: ItemReader
    labels: Tensor
    sample_shape: tuple[int, ...]
    seed: int = 0

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.labels), *self.sample_shape))

    def __len__(self) -> int:
        return len(self.labels)

    def seeded(self, seed: int) -> "Items":
        """The same, with other random draws."""
        return replace(self, seed=seed)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        numbers = numbers_of(index, len(self))
        batch = torch.empty((len(numbers), *self.sample_shape))
        with generators_kept():
            for place, number in zip(batch, numbers.tolist(), strict=True):
                place.copy_(self._sample(number))
        return batch

    def _sample(self, number: int) -> Tensor:
        seed_generators(self.seed, number)
        sample, label = self.reading.of(self.dataset, number)
        if tuple(sample.shape) != self.sample_shape:
            found, expected = tuple(sample.shape), self.sample_shape
            raise UserError(
                f"{self.reading.origin}: sample {number} has the shape {found}, {expected} expected as of the first"
            )
        found_label = self.reading.label_of(label, number)
        if found_label != int(self.labels[number]):
            expected_label = int(self.labels[number])
            raise UserError(
                f"{self.reading.origin}: label of sample {number} is {found_label}, but was {expected_label} when labels were "
                "read; the same one expected each time"
            )
        return sample


def items_of(dataset: Any, reading: ItemReader, classes: int | None) -> Items:
    """A map-style data set as samples; its labels are taken from where it keeps them all, or read one by one.

    Raises:
        UserError: it is empty, an item cannot be used, or a label is no class.
    """
    count = len(dataset)
    if not count:
        raise UserError(f"{reading.origin}: no samples found, at least one expected")
    with generators_kept():
        seed_generators(0, 0)
        first, _ = reading.of(dataset, 0)
        labels = _known_labels(dataset, reading.label)
        if labels is None or not _agree(labels, dataset, reading):
            labels = _read_labels(dataset, reading)
    return Items(dataset, reading, checked_labels(labels, count, reading.origin, classes=classes), tuple(first.shape))


def _known_labels(dataset: Any, key: Key) -> Any:
    """All labels at once, as torch's, torchvision's, tonic's and Hugging Face's data sets have them; None if there are none."""
    if isinstance(dataset, Subset):
        inner = _known_labels(dataset.dataset, key)
        return None if inner is None else np.asarray(inner)[np.asarray(dataset.indices)]
    if isinstance(dataset, ConcatDataset):
        parts = [_known_labels(part, key) for part in dataset.datasets]
        return None if any(part is None for part in parts) else np.concatenate([np.asarray(part) for part in parts])
    if isinstance(dataset, TensorDataset) and isinstance(key, int) and -len(dataset.tensors) <= key < len(dataset.tensors):
        return dataset.tensors[key].detach().cpu().numpy()
    if isinstance(key, str) and key in (getattr(dataset, "column_names", None) or ()):
        return np.asarray(dataset[key][:])
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if isinstance(values, Sequence | np.ndarray | Tensor) and not isinstance(values, str) and len(values) == len(dataset):
            array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
            if array.ndim == 1 and array.dtype.kind in "iufb":
                return array
    return None


def _agree(labels: Any, dataset: Any, reading: ItemReader) -> bool:
    """Whether the items have the labels that the data set says they have; a transform may change them on the way."""
    count = len(dataset)
    if len(labels) != count:
        return False
    for number in {int(i) for i in np.linspace(0, count - 1, min(count, _PROBED))}:
        _, label = reading.of(dataset, number)
        if reading.label_of(label, number) != labels[number]:
            return False
    return True


def _read_labels(dataset: Any, reading: ItemReader) -> Any:
    from rich.progress import track

    count, console = len(dataset), progress_console()
    hidden = count < _MANY or not console.is_terminal
    numbers = track(range(count), f"reading {count:,} labels", console=console, transient=True, disable=hidden)
    return np.array([reading.label_of(reading.of(dataset, number)[1], number) for number in numbers], np.int64)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Afterwards, torch's (on the CPU), numpy's and Python's generators are as they were before."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - what users' transforms draw from
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def seed_generators(seed: int, number: int) -> None:
    """Seed them for one sample."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))
    random.seed(digest)
    np.random.seed(int.from_bytes(digest[8:12], "big"))  # noqa: NPY002
