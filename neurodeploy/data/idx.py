"""Images and labels in IDX files, the format of MNIST and of the sets that follow it (Fashion-MNIST, KMNIST, EMNIST …).

An IDX file is a big-endian magic number (2051: bytes in three dimensions, 2049: in one), its dimensions as 32-bit integers, and
the bytes.
"""

from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from neurodeploy.data.checking import checked_labels, classes_of
from neurodeploy.data.dataset import DataSet, from_bytes
from neurodeploy.data.generic import OwnDataSet
from neurodeploy.data.stored import read_file
from neurodeploy.io.errors import UserError

_MOST_BYTES = 1 << 31


class IdxFiles(OwnDataSet):
    """`kind = "idx"`: grey images `[N, 1, H, W]` of any size, and their labels from 0 to K − 1, in IDX files, plain or `.gz`.

    Without files for the test, a part of the samples is held out.

    Attributes:
        folder: that holds the files.
        train_images, train_labels, test_images, test_labels: their names, without `.gz`; by default those of MNIST.
        classes: K; none given: one more than the highest label.
        class_names: of the classes, for tables.
        scale, normalize, test_share, split_seed: see `OwnDataSet`.
    """

    kind: Literal["idx"] = "idx"
    folder: Path
    train_images: str = "train-images-idx3-ubyte"
    train_labels: str = "train-labels-idx1-ubyte"
    test_images: str = "t10k-images-idx3-ubyte"
    test_labels: str = "t10k-labels-idx1-ubyte"
    classes: int | None = Field(default=None, ge=2)
    class_names: tuple[str, ...] = ()

    def load(self) -> DataSet:
        """Read the files.

        Raises:
            UserError: a file is missing, damaged or of another kind, images and labels differ in number, or a label is no
                whole number from 0 to K − 1; the message names the file.
        """
        folder, names = self.folder.expanduser(), self.class_names
        train, labels = self._part(folder, self.train_images, self.train_labels)
        if any(plain_or_packed(folder / name).is_file() for name in (self.test_images, self.test_labels)):
            test, test_labels = self._part(folder, self.test_images, self.test_labels)
            if test.shape[1:] != train.shape[1:]:
                found, expected = ("×".join(map(str, part.shape[2:])) for part in (test, train))
                raise UserError(f"{folder / self.test_images}: images of {found} pixels found, {expected} expected")
            classes = classes_of(labels, test_labels, folder, self.classes)
            note = f"images of {folder}"
        else:
            classes = classes_of(labels, labels[:0], folder, self.classes)
            parts = self.split(train, labels, names, folder)
            train, labels, test, test_labels = (part[:] for part in parts)
            note = f"images of {folder}; {self.split_note()}"
        if names and len(names) != classes:
            raise UserError(f"data.class_names: {len(names)} names found for {classes} classes; one for each expected")
        note = f"{note}; {len(train):,} for training and {len(test):,} for the test"
        return self.finished(DataSet(folder.name, train, labels, test, test_labels, classes, note, class_names=names))

    def _part(self, folder: Path, images: str, labels: str) -> tuple[Tensor, Tensor]:
        found, of = plain_or_packed(folder / images), plain_or_packed(folder / labels)
        pixels = torch.from_numpy(read_idx(found, 3).copy()).unsqueeze(1)
        return from_bytes(pixels, self.scale), checked_labels(read_idx(of, 1), len(pixels), of, classes=self.classes)


def plain_or_packed(path: Path) -> Path:
    """The file, or the packed one beside it where it is not there."""
    return path if path.is_file() else path.with_name(f"{path.name}.gz")


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes from an IDX file.

    Raises:
        UserError: the file is missing or damaged, no IDX file of so many dimensions, or not as long as its header says.
    """
    header = 4 + 4 * dimensions
    content = read_file(path, at_most=_MOST_BYTES)
    magic, expected = content[:4], bytes((0, 0, 8, dimensions))
    if magic != expected:
        raise UserError(
            f"{path}: magic number {int.from_bytes(magic, 'big')} found, {int.from_bytes(expected, 'big')} expected "
            f"(bytes in {dimensions} dimensions); put such an IDX file there"
        )
    sizes = [int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4)]
    total = header + prod(sizes)
    if len(content) != total:
        raise UserError(
            f"{path}: {len(content):,} bytes found, {total:,} expected from its header; it is damaged, remove it and fetch it "
            "again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
