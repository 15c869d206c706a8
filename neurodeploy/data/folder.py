"""Images of the user's own in folders, one for each class, read when they are asked for."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from neurodeploy.data.checking import check_same_classes
from neurodeploy.data.dataset import DataSet, Scale, from_bytes
from neurodeploy.data.generic import OwnDataSet
from neurodeploy.data.images import SUFFIXES, Fit, checked_size, read_pixels
from neurodeploy.data.samples import Samples, numbers_of
from neurodeploy.data.splitting import in_turn
from neurodeploy.io.errors import UserError
from neurodeploy.io.screen import progress_console

_BY_SYSTEMS = {"thumbs.db", "desktop.ini"}
"""What operating systems leave in folders of images."""
_MANY = 2000  # images, whose headers take long enough to show how far it is

Side = Annotated[int, Field(ge=1, le=8192)]


class ImageFolder(OwnDataSet):
    """`kind = "folder"`: images by class, `[N, channels, H, W]`, decoded when they are asked for.

    Either `FOLDER/train/CLASS/…` and `FOLDER/test/CLASS/…`, or `FOLDER/CLASS/…` alone, of which a part is held out for the
    test. Classes are numbered in the order of their sorted names; images may be in folders inside their class's. Hidden files
    are left out. Samples are ordered so that the classes take turns.

    The headers of all images are checked before anything is trained.

    Attributes:
        folder: of the images.
        train, test: names of the two parts inside it.
        size: height and width to which images are brought, a single number for both; none given: all must be of one size.
        fit: how: scaled and cropped in the centre ("crop"), or stretched.
        channels: 3 for colour, 1 for grey.
        scale, normalize, test_share, split_seed, workers: see `OwnDataSet`.
    """

    kind: Literal["folder"] = "folder"
    folder: Path
    train: str = "train"
    test: str = "test"
    size: tuple[Side, Side] | None = None
    fit: Fit = "crop"
    channels: Literal[1, 3] = 3

    @field_validator("size", mode="before")
    @classmethod
    def _a_single_number_is_a_square(cls, size: object) -> object:
        return (size, size) if isinstance(size, int) else size

    def load(self) -> DataSet:
        """Find the images and check their headers; their pixels are decoded when they are asked for.

        Raises:
            UserError: the folder or a part of it is missing, a class is empty or has other files than images, the
                classes of the two parts differ, or an image is damaged, animated, too large, or of another size where none is
                given.
        """
        root = self.folder.expanduser()
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; data.folder is that of the images, with a folder for each class")
        if any(entry.is_dir() for entry in _entries(root / self.train)):  # a class may be called train, too
            names, *parts = self._two_parts(root)
            note = f"images of {root}, its folders {self.train} and {self.test}"
        else:
            names, *parts = self._one_part(root)
            note = f"images of {root}; {self.split_note()}"
        (train, train_labels), (test, test_labels) = parts
        shape = "×".join(map(str, train.shape[1:]))
        return self.finished(
            DataSet(
                self.folder.name or "folder",
                train,
                train_labels,
                test,
                test_labels,
                len(names),
                f"{note}; {len(train):,} for training and {len(test):,} for the test, {shape}",
                class_names=names,
            )
        )

    def _two_parts(self, root: Path) -> tuple[tuple[str, ...], tuple[Samples, Tensor], tuple[Samples, Tensor]]:
        test = root / self.test
        if not test.is_dir():
            raise UserError(f"{test}: no such folder beside {self.train}; name the one with the test images in data.test")
        names, files, labels = _listed(root, self.train)
        test_names, test_files, test_labels = _listed(root, self.test)
        check_same_classes(names, test_names, root)
        size = _sizes(root, [*files, *test_files], self.size)
        parts = (self._samples(root, files, size), labels), (self._samples(root, test_files, size), test_labels)
        return (names, *parts)

    def _one_part(self, root: Path) -> tuple[tuple[str, ...], tuple[Samples, Tensor], tuple[Samples, Tensor]]:
        names, files, labels = _listed(root)
        samples = self._samples(root, files, _sizes(root, files, self.size))
        train, train_labels, test, test_labels = self.split(samples, labels, names, root)
        return names, (train, train_labels), (test, test_labels)

    def _samples(self, root: Path, files: Sequence[str], size: tuple[int, int]) -> "Images":
        return Images(root, np.array([os.fsencode(name) for name in files]), self.channels, size, self.fit, self.scale)


@dataclass(frozen=True, eq=False)
class Images:
    """Image files as samples.

    Attributes:
        folder: that holds them.
        names: relative to it, bytes `[N]`: one array, since worker processes would each copy the pages of N Python objects.
        channels, size, fit, scale: see `ImageFolder`; the size is `(H, W)`.
    """

    folder: Path
    names: NDArray[np.bytes_]
    channels: Literal[1, 3]
    size: tuple[int, int]
    fit: Fit
    scale: Scale

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.names), self.channels, *self.size))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        numbers = numbers_of(index, len(self))
        pixels = torch.empty((len(numbers), *self.shape[1:]), dtype=torch.uint8)
        for image, number in zip(pixels.numpy(), numbers.tolist(), strict=True):
            image[:] = read_pixels(self.folder / os.fsdecode(self.names[number]), self.channels, self.size, self.fit)
        return from_bytes(pixels, self.scale)


def _listed(root: Path, part: str = "") -> tuple[tuple[str, ...], list[str], Tensor]:
    """Class names, files relative to the root, and labels of a part of it; the classes take turns."""
    folder = root / part
    classes = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise UserError(f"{folder}: at least two folders expected, one for each class; {found} found")
    files, labels = list[Path](), list[int]()
    for label, name in enumerate(classes):
        images = sorted(_images(folder / name))
        if not images:
            raise UserError(f"{folder / name}: no images found, at least one of the class {name} expected")
        files += images
        labels += [label] * len(images)
    numbers = torch.tensor(labels)
    order = in_turn(numbers)
    return tuple(classes), [str(files[i].relative_to(root)) for i in order.tolist()], numbers[order]


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, if there is one, but for what is hidden."""
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []


def _images(folder: Path) -> Iterator[Path]:
    """The images in a folder and those inside it.

    Raises:
        UserError: a file has another ending than those of images.
    """
    seen = set[tuple[int, int]]()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:  # links that lead back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.startswith(".") or name.lower() in _BY_SYSTEMS:
                continue
            path = Path(place, name)
            if path.suffix.lower() not in SUFFIXES:
                raise UserError(
                    f"{path}: ends in {path.suffix or 'nothing'}, an image ({', '.join(sorted(SUFFIXES))}) expected"
                )
            yield path


def _sizes(root: Path, files: Sequence[str], wanted: tuple[int, int] | None) -> tuple[int, int]:
    """The size that samples will have; every header is read for it.

    Raises:
        UserError: an image cannot be used, or has another size than the first one and none is wanted.
    """
    from rich.progress import track

    console = progress_console()
    shown = track(
        files,
        f"checking {len(files):,} images",
        console=console,
        transient=True,
        disable=len(files) < _MANY or not console.is_terminal,
    )
    first: tuple[int, int] | None = None
    for name in shown:
        size = checked_size(root / name)
        first = first or size
        if wanted is None and size != first:
            raise UserError(
                f"{root / name}: {size[1]}×{size[0]} pixels found, {first[1]}×{first[0]} expected as in {files[0]}; set "
                "data.size to bring all to one size"
            )
    assert first is not None
    return wanted or first
