"""MNIST: 70,000 real 28×28 handwritten digits (LeCun, Cortes & Burges 1998), as IDX files, plain or gzipped.

An IDX file is a big-endian magic number (2051: bytes in three dimensions, 2049: in one), its dimensions as 32-bit integers, and
the bytes. Source: http://yann.lecun.com/exdb/mnist/; downloaded from PyTorch's mirror. The SHA-256 are those that TensorFlow's
and others' loaders publish for the same four files.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from neurodeploy.data.dataset import DataSet, Scale, first_of_each_class, from_bytes
from neurodeploy.data.download import Resource
from neurodeploy.data.idx import plain_or_packed, read_idx
from neurodeploy.data.stored import StoredDataSet
from neurodeploy.io.errors import UserError

_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist"
_CHECKSUMS = {
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_SOURCES = tuple(Resource(f"{_MIRROR}/{name}.gz", f"sha256:{checksum}", f"{name}.gz") for name, checksum in _CHECKSUMS.items())
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
    images_path = plain_or_packed(folder / f"{prefix}-images-idx3-ubyte")
    labels_path = plain_or_packed(folder / f"{prefix}-labels-idx1-ubyte")
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
