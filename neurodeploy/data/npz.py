"""Arrays of the user's own: one `.npz` file, or a folder of `.npy` files, which are read from disk as they are needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from neurodeploy.data.checking import checked_labels, classes_of
from neurodeploy.data.dataset import DataSet, Scale, from_bytes
from neurodeploy.data.generic import OwnDataSet
from neurodeploy.data.samples import Samples, numbers_of
from neurodeploy.io.arrays import NamedArrays, map_array
from neurodeploy.io.errors import UserError
from neurodeploy.io.values import as_numbers, check_values

ArrayLayout = Literal["channels-first", "channels-last", "no-channels"]


class ArrayFiles(OwnDataSet):
    """`kind = "npz"`: arrays of samples and labels, as they are stored.

    Samples are `[N, …]`: features `[N, F]`, sequences `[N, C, L]`, images `[N, C, H, W]` or event frames `[N, T, C, H, W]`.
    Labels are whole numbers from 0 to K − 1. Without arrays for the test, a part of the samples is held out.

    An `.npz` file is read into memory. The `.npy` files of a folder are mapped, so they may be larger than memory.

    Attributes:
        path: an `.npz` file, or a folder of `.npy` files.
        x_train, y_train, x_test, y_test: names of the arrays, or of the files without `.npy`.
        layout: where the channels are: "channels-first", "channels-last" (`[N, H, W, C]`), or "no-channels" (`[N, H, W]`),
            which gives images with one.
        frames: T, if samples are event frames.
        classes: K; none given: one more than the highest label.
        class_names: of the classes, for tables.
        scale: what a byte is worth, see `OwnDataSet`. Values of other types are taken as they are.
        normalize, test_share, split_seed, workers: see `OwnDataSet`.
    """

    kind: Literal["npz"] = "npz"
    path: Path
    x_train: str = "x_train"
    y_train: str = "y_train"
    x_test: str = "x_test"
    y_test: str = "y_test"
    layout: ArrayLayout = "channels-first"
    frames: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=2)
    class_names: tuple[str, ...] = ()

    @property
    def event_frames(self) -> int | None:
        return self.frames

    def load(self) -> DataSet:
        """Read or map the arrays; all values and labels are looked at.

        Raises:
            UserError: a file or array is missing or damaged, samples and labels differ in number, a value is not finite, or a
                label no whole number from 0 to K − 1; the message names the array and the sample.
        """
        path = self.path.expanduser()
        arrays: Mapping[str, NDArray[Any]] = (
            _mapped(path, (self.x_train, self.y_train, self.x_test, self.y_test)) if path.is_dir() else NamedArrays(path)
        )
        train, labels = self._part(path, arrays, self.x_train, self.y_train)
        names = self.class_names
        if self.x_test in arrays or self.y_test in arrays:
            test, test_labels = self._part(path, arrays, self.x_test, self.y_test)
            if test.shape[1:] != train.shape[1:]:
                found, expected = tuple(test.shape[1:]), tuple(train.shape[1:])
                raise UserError(
                    f"{path}: {self.x_test}: samples of shape {found} found, {expected} expected as in {self.x_train}"
                )
            classes = classes_of(labels, test_labels, path, self.classes)
            note = f"arrays of {path}"
        else:
            classes = classes_of(labels, labels[:0], path, self.classes)
            train, labels, test, test_labels = self.split(train, labels, names, path)
            note = f"arrays of {path}; {self.split_note()}"
        if names and len(names) != classes:
            raise UserError(f"data.class_names: {len(names)} names found for {classes} classes; one for each expected")
        note = f"{note}; {len(train):,} for training and {len(test):,} for the test"
        whole = DataSet(
            path.stem, train, labels, test, test_labels, classes, note, timed=self.frames is not None, class_names=names
        )
        return self.finished(whole)

    def _part(self, path: Path, arrays: Mapping[str, NDArray[Any]], x: str, y: str) -> tuple[Samples, Tensor]:
        for name in (x, y):
            if name not in arrays:
                there = ", ".join(sorted(arrays)) or "none"
                raise UserError(f"{path}: no array {name}; there are: {there}")
        values = as_numbers(arrays[x], f"{path}: {x}")
        if values.ndim < 2 or not values.size:
            raise UserError(f"{path}: {x}: shape {values.shape} found, [N, …] with at least one sample expected")
        samples = Arrays(values, self.layout, self.scale, timed=self.frames is not None)
        if self.frames is not None and (samples.shape[1] != self.frames or len(samples.shape) < 4):
            found = tuple(samples.shape[1:])
            raise UserError(
                f"{path}: {x}: samples of shape {found} found, ({self.frames}, C, …) expected of {self.frames} frames"
            )
        check_values(values, f"{path}: {x}")
        labels = checked_labels(arrays[y], len(values), f"{path}: {y}", classes=self.classes)
        if isinstance(values, np.memmap):
            return samples, labels
        return samples[:], labels


@dataclass(frozen=True, eq=False)
class Arrays:
    """An array, perhaps on disk, as samples.

    Attributes:
        values: numbers `[N, …]`.
        layout, scale: see `ArrayFiles`.
        timed: samples have a time axis before all others.
    """

    values: NDArray[Any]
    layout: ArrayLayout = "channels-first"
    scale: Scale = "1/256"
    timed: bool = False

    @property
    def shape(self) -> torch.Size:
        axes = list(self.values.shape)
        if self.layout != "channels-first":
            axes.insert(self._channels, 1 if self.layout == "no-channels" else axes.pop())
        return torch.Size(axes)

    @property
    def _channels(self) -> int:
        """The axis of the channels in a batch."""
        return 2 if self.timed else 1

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        chosen = self.values[index if isinstance(index, slice) else numbers_of(index, len(self)).numpy()]
        if self.layout == "channels-last":
            chosen = np.moveaxis(chosen, -1, self._channels)
        elif self.layout == "no-channels":
            chosen = np.expand_dims(chosen, self._channels)
        if chosen.dtype == np.uint8:
            return from_bytes(torch.from_numpy(np.array(chosen)), self.scale)
        return torch.from_numpy(np.array(chosen, np.float32))


def _mapped(folder: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays of those files that are there, and of others only that they are."""
    found = {path.stem: path for path in sorted(folder.glob("*.npy"))}
    return {name: map_array(path) if name in names else np.empty(0) for name, path in found.items()}
