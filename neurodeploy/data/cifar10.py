"""CIFAR-10 and CIFAR-100: 60,000 real 32×32 colour photographs (Krizhevsky 2009), in their binary layout.

A record is one label byte (CIFAR-100: a coarse and a fine one) and 3,072 pixel bytes, red, green and blue planes row by row.
The other official layout is a Python pickle, which can run code when read, and is not supported.
Source: https://www.cs.toronto.edu/~kriz/cifar.html, which publishes the MD5 of both archives.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.data.dataset import DataSet, Scale, first_of_each_class, from_bytes
from neurodeploy.data.download import Archive
from neurodeploy.data.stored import StoredDataSet, read_file
from neurodeploy.io.errors import UserError

Bytes = NDArray[np.uint8]

_PIXELS = 3 * 32 * 32


def _archive(name: str, md5: str, sha256: str, folder: str, marker: str) -> Archive:
    url = f"https://www.cs.toronto.edu/~kriz/{name}"
    return Archive(url, f"md5:{md5}", name, folder, top=folder, marker=marker, at_most=200_000_000, sha256=sha256)


# MD5 by the publisher; SHA-256 as several independent loaders have it
_CIFAR10 = _archive(
    "cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-10-batches-bin",
    "test_batch.bin",
)
_CIFAR100 = _archive(
    "cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    "cifar-100-binary",
    "test.bin",
)


_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Cifar10(StoredDataSet):
    """`kind = "cifar10"`: 50,000 training and 10,000 test images of 10 classes, `[N, 3, 32, 32]`.

    Attributes:
        scale: what a byte is worth: "1/256", "1/255" (as torchvision) or "1" (0 … 255).
    """

    kind: Literal["cifar10"] = "cifar10"
    scale: Scale = "1/256"

    def load(self) -> DataSet:
        """Read the official files.

        Raises:
            UserError: a file is missing, of the wrong size, or holds a label above 9.
            Failure: the download failed.
        """
        batches = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
        folder = self.located((*batches, "test_batch.bin"), (_CIFAR10.folder, "."), (_CIFAR10,), _CIFAR10.url)
        train = _samples([folder / name for name in batches], 1, 10_000, 0, 10, self.train_limit, self.scale)
        test = _samples([folder / "test_batch.bin"], 1, 10_000, 0, 10, self.test_limit, self.scale)
        note = f"CIFAR-10 binary version, 32×32 colour; official split{self.used()}"
        return self.normalized(DataSet("cifar10", *train, *test, 10, note, class_names=_NAMES))


class Cifar100(StoredDataSet):
    """`kind = "cifar100"`: 50,000 training and 10,000 test images, `[N, 3, 32, 32]`.

    Attributes:
        labels: "fine" for the 100 classes, "coarse" for their 20 superclasses.
        scale: see `Cifar10`.
    """

    kind: Literal["cifar100"] = "cifar100"
    labels: Literal["fine", "coarse"] = "fine"
    scale: Scale = "1/256"

    def load(self) -> DataSet:
        """Read the official files.

        Raises:
            UserError: a file is missing, of the wrong size, or holds a label above 99 (19 if coarse).
            Failure: the download failed.
        """
        folder = self.located(("train.bin", "test.bin"), (_CIFAR100.folder, "."), (_CIFAR100,), _CIFAR100.url)
        column, classes = (1, 100) if self.labels == "fine" else (0, 20)
        train = _samples([folder / "train.bin"], 2, 50_000, column, classes, self.train_limit, self.scale)
        test = _samples([folder / "test.bin"], 2, 10_000, column, classes, self.test_limit, self.scale)
        note = f"CIFAR-100 binary version, {self.labels} labels, 32×32 colour; official split{self.used()}"
        return self.normalized(DataSet("cifar100", *train, *test, classes, note))


def _records(path: Path, label_bytes: int, count: int) -> Bytes:
    """All records of a file: `[count, label_bytes + 3072]`."""
    size = count * (label_bytes + _PIXELS)
    content = read_file(path, at_most=size)
    if len(content) != size:
        raise UserError(
            f"{path}: {len(content):,} bytes found, {size:,} expected ({count:,} records of {label_bytes + _PIXELS:,} bytes); "
            "it is damaged, remove its folder and fetch it again"
        )
    return np.frombuffer(content, np.uint8).reshape(count, -1)


def _samples(
    paths: list[Path], label_bytes: int, count: int, column: int, classes: int, limit: int | None, scale: Scale
) -> tuple[Tensor, Tensor]:
    """Samples float32 `[N, 3, 32, 32]` and labels int64 `[N]` of files of `count` records each, the label in byte `column`."""
    files = [_records(path, label_bytes, count) for path in paths]
    for path, records in zip(paths, files, strict=True):
        wrong = np.flatnonzero(records[:, column] >= classes)
        if wrong.size:
            label = records[wrong[0], column]
            raise UserError(f"{path}: record {wrong[0]}: label {label} found, 0 to {classes - 1} expected; fetch it again")
    labels = np.concatenate([records[:, column] for records in files]).astype(np.int64)
    chosen = first_of_each_class(labels, limit, classes, paths[0].parent)
    # file by file, since the records of all of them in one array would be in memory twice
    each = len(files[0])
    pixels = [records[chosen[chosen // each == i] % each, -_PIXELS:] for i, records in enumerate(files)]
    samples = torch.from_numpy(np.concatenate(pixels).reshape(-1, 3, 32, 32))
    return from_bytes(samples, scale), torch.from_numpy(labels[chosen])
