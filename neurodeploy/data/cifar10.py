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

from neurodeploy.data.dataset import DataSet, first_of_each_class, from_bytes
from neurodeploy.data.download import Archive
from neurodeploy.data.stored import StoredDataSet, read_file
from neurodeploy.io.errors import UserError

Bytes = NDArray[np.uint8]

_PIXELS = 3 * 32 * 32
_CIFAR10 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    checksum="md5:c32a1d4ab5d03f1284b67883e8d87530",
    name="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    top="cifar-10-batches-bin",
    marker="test_batch.bin",
    at_most=200_000_000,
)
_CIFAR100 = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    checksum="md5:03b5dce01913d631647c71ecec9e9cb8",
    name="cifar-100-binary.tar.gz",
    folder="cifar-100-binary",
    top="cifar-100-binary",
    marker="test.bin",
    at_most=200_000_000,
)


class Cifar10(StoredDataSet):
    """`kind = "cifar10"`: 50,000 training and 10,000 test images of 10 classes, `[N, 3, 32, 32]`, `byte / 256`."""

    kind: Literal["cifar10"] = "cifar10"

    def load(self) -> DataSet:
        """Read the official files.

        Raises:
            UserError: a file is missing, of the wrong size, or holds a label above 9.
            Failure: the download failed.
        """
        batches = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
        folder = self.located((*batches, "test_batch.bin"), (_CIFAR10.folder, "."), (_CIFAR10,), _CIFAR10.url)
        train = [_records(folder / name, 1, 10_000) for name in batches]
        test = [_records(folder / "test_batch.bin", 1, 10_000)]
        train_samples, train_labels = _split(train, folder, 0, 10, self.train_limit)
        test_samples, test_labels = _split(test, folder, 0, 10, self.test_limit)
        note = f"CIFAR-10 binary version, 32×32 colour; official split{self.used()}"
        return DataSet("cifar10", train_samples, train_labels, test_samples, test_labels, 10, note)


class Cifar100(StoredDataSet):
    """`kind = "cifar100"`: 50,000 training and 10,000 test images, `[N, 3, 32, 32]`, `byte / 256`.

    Attributes:
        labels: "fine" for the 100 classes, "coarse" for their 20 superclasses.
    """

    kind: Literal["cifar100"] = "cifar100"
    labels: Literal["fine", "coarse"] = "fine"

    def load(self) -> DataSet:
        """Read the official files.

        Raises:
            UserError: a file is missing, of the wrong size, or holds a label above 99 (19 if coarse).
            Failure: the download failed.
        """
        folder = self.located(("train.bin", "test.bin"), (_CIFAR100.folder, "."), (_CIFAR100,), _CIFAR100.url)
        column, classes = (1, 100) if self.labels == "fine" else (0, 20)
        train, test = [_records(folder / "train.bin", 2, 50_000)], [_records(folder / "test.bin", 2, 10_000)]
        train_samples, train_labels = _split(train, folder, column, classes, self.train_limit)
        test_samples, test_labels = _split(test, folder, column, classes, self.test_limit)
        note = f"CIFAR-100 binary version, {self.labels} labels, 32×32 colour; official split{self.used()}"
        return DataSet("cifar100", train_samples, train_labels, test_samples, test_labels, classes, note)


def _records(path: Path, label_bytes: int, count: int) -> tuple[Path, Bytes]:
    """All records of a file: `[count, label_bytes + 3072]`."""
    size = count * (label_bytes + _PIXELS)
    content = read_file(path, at_most=size)
    if len(content) != size:
        raise UserError(
            f"{path}: {len(content):,} bytes found, {size:,} expected ({count:,} records of {label_bytes + _PIXELS:,} bytes); "
            "it is damaged, remove its folder and fetch it again"
        )
    return path, np.frombuffer(content, np.uint8).reshape(count, -1)


def _split(
    files: list[tuple[Path, Bytes]], folder: Path, column: int, classes: int, limit: int | None
) -> tuple[Tensor, Tensor]:
    """Samples float32 `[N, 3, 32, 32]` and labels int64 `[N]` of some files."""
    for path, records in files:
        wrong = np.flatnonzero(records[:, column] >= classes)
        if wrong.size:
            label = records[wrong[0], column]
            raise UserError(f"{path}: record {wrong[0]}: label {label} found, 0 to {classes - 1} expected; fetch it again")
    labels = np.concatenate([records[:, column] for _, records in files]).astype(np.int64)
    chosen = first_of_each_class(labels, limit, classes, folder)
    starts = np.cumsum([0, *(len(records) for _, records in files)])
    pixels = [
        records[chosen[(chosen >= start) & (chosen < start + len(records))] - start, -_PIXELS:]
        for start, (_, records) in zip(starts, files, strict=False)
    ]
    samples = torch.from_numpy(np.concatenate(pixels).reshape(-1, 3, 32, 32))
    return from_bytes(samples), torch.from_numpy(labels[chosen])
