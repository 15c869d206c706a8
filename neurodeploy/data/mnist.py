"""MNIST: 70,000 real 28×28 handwritten digits (LeCun, Cortes & Burges 1998), as IDX files, plain or gzipped.

An IDX file is a big-endian magic number (2051: bytes in three dimensions, 2049: in one), its dimensions as 32-bit integers, and
the bytes. Source: http://yann.lecun.com/exdb/mnist/; downloaded from PyTorch's mirror. The SHA-256 are those that TensorFlow's
and others' loaders publish for the same four files.
"""

from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.data.dataset import DataSet, Scale, first_of_each_class, from_bytes
from neurodeploy.data.download import Resource
from neurodeploy.data.stored import StoredDataSet, read_file
from neurodeploy.io.errors import UserError

_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
_CHECKSUMS = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_SOURCES = tuple(Resource(f"{_MIRROR}/{name}.gz", f"sha256:{checksum}", f"{name}.gz") for name, checksum in _CHECKSUMS.items())
_MOST = 1_000_000  # samples; the official files have 60,000 and 10,000
_SIDE = 28


class Mnist(StoredDataSet):
    """`kind = "mnist"`: 60,000 training and 10,000 test images of 10 digits, `[N, 1, 28, 28]`.

    Attributes:
        scale: see `Cifar10`.
    """

    kind: Literal["mnist"] = "mnist"
    scale: Scale = "1/256"

    def load(self) -> DataSet:
        """Read the official files.

        Raises:
            UserError: a file is missing, truncated, of another kind or size, or holds a label above 9.
            Failure: the download failed.
        """
        needed = tuple(f"{name}*" for name in _CHECKSUMS)
        folder = self.located(needed, (".", "MNIST/raw", "raw"), _SOURCES, _MIRROR)
        train = _split(folder, "train", self.train_limit, self.scale)
        test = _split(folder, "t10k", self.test_limit, self.scale)
        return self.normalized(
            DataSet("mnist", *train, *test, 10, f"MNIST handwritten digits, 28×28; official split{self.used()}")
        )


def _split(folder: Path, prefix: str, limit: int | None, scale: Scale) -> tuple[Tensor, Tensor]:
    images_path = _plain_or_packed(folder / f"{prefix}-images-idx3-ubyte")
    labels_path = _plain_or_packed(folder / f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1).astype(np.int64)
    if images.shape[1:] != (_SIDE, _SIDE):
        pixels = "×".join(map(str, images.shape[1:]))
        raise UserError(f"{images_path}: images of {pixels} pixels found, {_SIDE}×{_SIDE} expected; is it another data set?")
    if len(images) != len(labels):
        raise UserError(f"{labels_path}: {len(labels):,} labels found for {len(images):,} images; fetch both files again")
    if labels.size and labels.max() > 9:
        where = int(labels.argmax())
        raise UserError(f"{labels_path}: label {where} is {labels[where]}, 0 to 9 expected; fetch the file again")
    chosen = first_of_each_class(labels, limit, 10, labels_path)
    samples = torch.from_numpy(images[chosen].reshape(-1, 1, _SIDE, _SIDE))
    return from_bytes(samples, scale), torch.from_numpy(labels[chosen])


def _plain_or_packed(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.gz")


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes from an IDX file.

    Raises:
        UserError: the file is missing or damaged, no IDX file of so many dimensions, or not as long as its header says.
    """
    header = 4 + 4 * dimensions
    content = read_file(path, at_most=header + _MOST * _SIDE * _SIDE)
    magic, expected = content[:4], bytes((0, 0, 8, dimensions))
    if magic != expected:
        raise UserError(
            f"{path}: magic number {int.from_bytes(magic, 'big')} found, {int.from_bytes(expected, 'big')} expected "
            f"(bytes in {dimensions} dimensions); put the official IDX file there"
        )
    sizes = [int.from_bytes(content[start : start + 4], "big") for start in range(4, header, 4)]
    total = header + prod(sizes)
    if len(content) != total:
        raise UserError(
            f"{path}: {len(content):,} bytes found, {total:,} expected from its header; it is damaged, remove it and fetch it "
            "again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
