"""What a data set is, its settings in a recipe, and how many of its samples are taken."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from neurodeploy.data.normalization import Normalization
from neurodeploy.data.samples import Normalized, Samples, chosen
from neurodeploy.data.splitting import train_and_test
from neurodeploy.io.errors import UserError


@dataclass(frozen=True)
class DataSet:
    """Labelled samples, split into training and test.

    Attributes:
        name: as reports print it.
        train_samples, test_samples: float32 images `[N, C, H, W]`, sequences of features `[N, C, L]`, or event frames
            `[N, T, C, H, W]` if `timed`.
        train_labels, test_labels: int64 `[N]`, 0 … classes − 1.
        classes: K.
        note: origin and split in one sentence.
        timed: the samples have a time axis of their own, one event frame per time step.
        normalization: of the channels, which the samples have gone through already (see `neurodeploy.data.samples.Normalized`);
            None where values are as they are stored.
        class_names: of the K classes; empty where they have none.
        workers: processes that read samples which are not in memory.

    Samples are tensors, or read when they are asked for (see `neurodeploy.data.samples.Samples`). Without normalisation, those
    of the package's own kinds are multiples of 2⁻⁸ between −1 and 1, so that sums over them can be exact (see
    `neurodeploy.graph.grid`).
    """

    name: str
    train_samples: Samples
    train_labels: Tensor
    test_samples: Samples
    test_labels: Tensor
    classes: int
    note: str
    timed: bool = False
    normalization: Normalization | None = None
    class_names: tuple[str, ...] = ()
    workers: int = 0

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)` or `(C, L)`; of one time step if `timed`."""
        return tuple(self.train_samples.shape[2 if self.timed else 1 :])

    def sequences(self, samples: Tensor) -> Tensor:
        """Samples as a graph takes them: `[T, N, …]` if `timed`, unchanged if not."""
        return samples.transpose(0, 1).contiguous() if self.timed else samples

    @property
    def steps(self) -> int | None:
        """T if `timed`, None for static samples."""
        return int(self.train_samples.shape[1]) if self.timed else None


class DataSetSettings(BaseModel):
    """What a recipe says under `[data]` of one kind of data set; a subclass names its `kind`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str

    @property
    def event_frames(self) -> int | None:
        """Event frames per sample; None for static samples."""
        return None

    @abstractmethod
    def load(self) -> DataSet:
        """The samples, in memory or read when they are asked for.

        Raises:
            UserError: its files are missing or damaged.
        """


class NormalizedDataSet(DataSetSettings):
    """A kind of data set whose values can be normalised, and of whose training set a part can stand for the test set.

    Attributes:
        normalize: `{ mean = […], std = […] }`, one of each for every channel or a single one: samples become
            `(x − mean) / std`. Augmentations see them before that.
        held_out_share: of every class of the training set that is not trained on, and is tested on instead of the test set, of
            which nothing is used then: for the choice of settings. The same samples at every time.
    """

    normalize: Normalization | None = None
    held_out_share: float | None = Field(default=None, gt=0, lt=1)

    def normalized(self, data: DataSet) -> DataSet:
        """The data set as the settings want it normalised and split.

        Raises:
            UserError: there are as many means as there are no channels.
        """
        data = data if self.held_out_share is None else _without_its_test_set(data, self.held_out_share)
        if self.normalize is None:
            return data
        channels = data.sample_shape[0]
        if not self.normalize.fits(channels):
            found = len(self.normalize.mean)
            raise UserError(f"data.normalize: mean and std of {found} channels found, 1 or {channels} of each expected")
        train, test = (Normalized(x, self.normalize, data.timed) for x in (data.train_samples, data.test_samples))
        return replace(data, train_samples=train, test_samples=test, normalization=self.normalize)


def _without_its_test_set(data: DataSet, share: float) -> DataSet:
    """A share of the training set in the place of the test set."""
    counts = torch.bincount(data.train_labels, minlength=data.classes)
    if int(counts.min()) < 2:
        few = int(counts.argmin())
        raise UserError(
            f"data.held_out_share: class {few} has {int(counts[few])} training samples, at least 2 expected; leave it out"
        )
    train, held = train_and_test(data.train_labels, share, seed=0)
    return replace(
        data,
        train_samples=chosen(data.train_samples, train),
        train_labels=data.train_labels[train],
        test_samples=chosen(data.train_samples, held),
        test_labels=data.train_labels[held],
        note=f"{data.note}; tested on {len(held):,} of its training samples, which are not trained on",
    )


Scale = Literal["1/256", "1/255", "1"]
"""What a byte is worth: "1/256" gives 0 … 255/256, which export can keep exact; "1/255" gives 0 … 1, as torchvision's
`ToTensor`; "1" leaves 0 … 255."""


def from_bytes(values: Tensor, scale: Scale = "1/256") -> Tensor:
    """uint8 → float32 `byte / 256`: 0, 1/256 … 255/256; or on another scale.

    No mean is taken away and nothing is divided by a deviation: batch norm does that, and exact export needs this grid.
    """
    divisor = {"1/256": 256, "1/255": 255, "1": 1}[scale]
    return values.float() if divisor == 1 else values.float().div_(divisor)


def first_of_each_class(labels: ArrayLike, limit: int | None, classes: int, source: Path) -> NDArray[np.int64]:
    """Positions of the samples to use, ascending, so that the original order stays.

    Args:
        labels: integers `[N]`, 0 … classes − 1.
        limit: n per class; None for all samples.
        classes: K.
        source: what the error names.

    Raises:
        UserError: there is no sample at all, or a class has fewer than `limit`.
    """
    numbers = np.asarray(labels, np.int64)
    if not numbers.size:
        raise UserError(f"{source}: empty, at least one sample expected; put the official files there")
    if limit is None:
        return np.arange(len(numbers))
    counts = np.bincount(numbers, minlength=classes)
    if counts.min() < limit:
        scarce = int(counts.argmin())
        raise UserError(f"{source}: class {scarce} has {counts[scarce]} samples, fewer than the limit {limit}; lower the limit")
    order = np.argsort(numbers, kind="stable")
    starts = np.cumsum(counts) - counts
    return np.sort(order[(starts[:, None] + np.arange(limit)).ravel()])
