"""Tiny ImageNet: 200 classes of 64 × 64 images (Stanford CS231n)."""

import io
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from neurodeploy.data.dataset import DataSet, Scale, from_bytes
from neurodeploy.data.download import Archive
from neurodeploy.data.stored import Labelled, StoredDataSet, read_file, read_lines
from neurodeploy.io.errors import UserError

_AT_MOST = 1 << 20  # bytes of a small JPEG


def read_jpeg(path: Path, side: int) -> NDArray[np.uint8]:
    """A square image as red, green and blue planes, `[3, side, side]`; a grey one gives three equal planes.

    The size in the header is checked before anything is decoded, so a decompression bomb is never unpacked.

    Raises:
        UserError: the file is missing, damaged, too large, no JPEG, or of another size.
    """
    content = io.BytesIO(read_file(path, at_most=_AT_MOST))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(content, formats=("JPEG",))
        if image.size != (side, side):
            width, height = image.size
            raise UserError(f"{path}: {width}×{height} pixels found, {side}×{side} expected; put the official image there")
        with image:
            planes = np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0].split("<")[0].strip()
        raise UserError(f"{path}: not a whole JPEG image ({reason}); remove it and fetch the official one again") from None
    return planes


_SIDE = 64
_CLASSES = 200
_NAME = "tiny-imagenet-200"
_URL, _MD5 = f"http://cs231n.stanford.edu/{_NAME}.zip", "md5:90528d7ca1a48142e341f4ef8d21d0de"
_SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"  # as several independent loaders have it
_ARCHIVE = Archive(
    _URL, _MD5, f"{_NAME}.zip", folder=_NAME, top=_NAME, marker="wnids.txt", at_most=1_000_000_000, sha256=_SHA256
)


class TinyImagenet(StoredDataSet):
    """`kind = "tiny-imagenet"`: 100,000 training and 10,000 test images of 200 classes, `[N, 3, 64, 64]`.

    Classes are numbered in the order of their sorted WordNet ids. All samples take 5.4 GB of memory; `train_limit` and
    `test_limit` make it less.

    Attributes:
        scale: see `Cifar10`.
    """

    kind: Literal["tiny-imagenet"] = "tiny-imagenet"
    scale: Scale = "1/256"

    def load(self) -> DataSet:
        """Decode the images (a minute for all of them), or read their pixels from the cache.

        Raises:
            UserError: a list or an image is missing, damaged or of another size, or a class is unknown.
            Failure: the download failed.
        """
        needed = (_ARCHIVE.marker, "train", "val/val_annotations.txt")
        folder = self.located(needed, (_ARCHIVE.folder, "."), (_ARCHIVE,), _ARCHIVE.url)
        classes = _classes(folder / _ARCHIVE.marker)
        train = _training(folder / "train", classes), folder / "train"
        test = _validation(folder / "val", classes), folder / "val"
        note = "Tiny ImageNet, 64×64 colour; official training images, tested on the validation images"
        convert = partial(from_bytes, scale=self.scale)
        return self.of_files(folder, train, test, _decoded, classes=_CLASSES, note=note, settings=set(), convert=convert)


def _classes(path: Path) -> dict[str, int]:
    """WordNet id → label."""
    names = sorted(set(read_lines(path)))
    if len(names) != _CLASSES:
        raise UserError(f"{path}: {len(names)} classes found, {_CLASSES} expected; put the official list there")
    return {name: label for label, name in enumerate(names)}


def _training(folder: Path, classes: dict[str, int]) -> Labelled:
    labelled: list[tuple[Path, int]] = []
    for name, label in classes.items():
        images = sorted((folder / name / "images").glob("*.JPEG"))
        if not images:
            raise UserError(
                f"{folder / name / 'images'}: no .JPEG images found, 500 expected; unpack the official archive again"
            )
        labelled += [(path, label) for path in images]
    return labelled


def _validation(folder: Path, classes: dict[str, int]) -> Labelled:
    annotations, images = folder / "val_annotations.txt", []
    for number, line in enumerate(read_lines(annotations), start=1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in classes or Path(name).name != name or not name.endswith(".JPEG"):
            raise UserError(
                f"{annotations}: line {number}: {line[:60]!r} found, an image name, a tab and a class of wnids.txt expected; "
                "put the official file there"
            )
        images.append((folder / "images" / name, classes[wnid]))
    return images


def _decoded(files: Sequence[Path]) -> Tensor:
    """uint8 `[N, 3, 64, 64]`."""
    pixels = np.empty((len(files), 3, _SIDE, _SIDE), np.uint8)
    for image, path in zip(pixels, files, strict=True):
        image[:] = read_jpeg(path, _SIDE)
    return torch.from_numpy(pixels)
