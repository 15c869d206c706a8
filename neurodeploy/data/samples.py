"""Samples that need not be in memory: read when they are asked for, batch by batch."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from neurodeploy.data.normalization import Normalization


class Samples(Protocol):
    """`[N, …]`, read batch by batch. A float32 tensor is one; so is a view of files that are decoded when they are asked for.

    Others say `len`, `shape`, and give a tensor for a slice or for numbers of samples; nothing else is asked of them.
    """

    @property
    def shape(self) -> torch.Size:
        """Of all samples together, `[N, …]`."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        """The samples of these numbers, int64 `[B]`, as a float32 tensor `[B, …]`.

        Raises:
            UserError: a sample cannot be read; the message names it.
        """
        ...


@runtime_checkable
class Drawing(Samples, Protocol):
    """Samples that are drawn at random when they are read."""

    def seeded(self, seed: int) -> Samples:
        """The same samples with the draws of this seed."""
        ...


def numbers_of(index: Tensor | slice, count: int) -> Tensor:
    """What an index of `Samples` means: numbers of samples, int64 `[B]`.

    Args:
        index: numbers, negative ones counted from the end; or a slice.
        count: N.

    Raises:
        IndexError: a number is not below `count`.
    """
    if isinstance(index, slice):
        return torch.arange(*index.indices(count))
    numbers = torch.as_tensor(index, dtype=torch.long)
    if len(numbers) and not -count <= int(numbers.min()) <= int(numbers.max()) < count:
        raise IndexError(f"samples {int(numbers.min())} to {int(numbers.max())} of {count} asked for")
    return numbers % count if count else numbers


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some of the samples, in an order of their own.

    Attributes:
        samples: all of them.
        numbers: of those that are chosen, int64 `[M]`.
    """

    samples: Samples
    numbers: Tensor

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.numbers), *self.samples.shape[1:]))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        return self.samples[self.numbers[numbers_of(index, len(self))]]


@dataclass(frozen=True, eq=False)
class Normalized:
    """Samples with each channel normalised when they are read.

    Attributes:
        raw: samples as they are stored, `[N, C, …]`, or `[N, T, C, …]` if `timed`.
        normalization: of their channels.
        timed: the samples have a time axis before their channels.
    """

    raw: Samples
    normalization: Normalization
    timed: bool = False

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.raw.shape)

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        return self.applied(self.raw[index])

    def applied(self, batch: Tensor) -> Tensor:
        """A batch as it is stored → normalised, a new tensor on its device."""
        return self.normalization(batch, axis=2 if self.timed else 1)


@dataclass(frozen=True, eq=False)
class Joined:
    """Samples of two sets, those of the first before those of the second."""

    first: Samples
    second: Samples

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self.first.shape[1:]))

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: Tensor | slice, /) -> Tensor:
        numbers, count = numbers_of(index, len(self)), len(self.first)
        batch = torch.empty((len(numbers), *self.first.shape[1:]))
        for of_part, part, offset in ((numbers < count, self.first, 0), (numbers >= count, self.second, count)):
            if of_part.any():
                batch[of_part] = part[numbers[of_part] - offset]
        return batch


def joined(first: Samples, second: Samples) -> Samples:
    """Samples of two sets as one; normalised alike, or not at all."""
    if isinstance(first, Normalized) and isinstance(second, Normalized):
        return Normalized(joined(first.raw, second.raw), first.normalization, first.timed)
    both_held = isinstance(first, Tensor) and isinstance(second, Tensor)
    return torch.cat([first[:], second[:]]) if both_held else Joined(first, second)


def as_stored(samples: Samples) -> Samples:
    """Samples before their normalisation, as augmentations take them: those are about pixels as they are stored."""
    return samples.raw if isinstance(samples, Normalized) else samples


def chosen(samples: Samples, numbers: Tensor) -> Samples:
    """The samples of these numbers, int64 `[M]`: a tensor of a tensor, a view of what is read when it is asked for."""
    if isinstance(samples, Tensor):
        return samples[numbers]
    if isinstance(samples, Normalized):  # stays what it is, so that augmentation finds the samples before it
        return Normalized(chosen(samples.raw, numbers), samples.normalization, samples.timed)
    return Chosen(samples, numbers)


def seeded(samples: Samples, seed: int) -> Samples:
    """Samples that draw something at random when they are read, with the draws of this seed; others as they are."""
    if isinstance(samples, Normalized):
        return Normalized(seeded(samples.raw, seed), samples.normalization, samples.timed)
    if isinstance(samples, Chosen):
        return Chosen(seeded(samples.samples, seed), samples.numbers)
    if isinstance(samples, Joined):
        return Joined(seeded(samples.first, seed), seeded(samples.second, seed))
    return samples.seeded(seed) if isinstance(samples, Drawing) else samples


def in_memory(samples: Samples) -> bool:
    """Whether nothing has to be read for a batch: a tensor, normalised or not."""
    return isinstance(as_stored(samples), Tensor)


def on_device(samples: Samples, device: torch.device) -> Samples:
    """What is in memory, moved to a device; others stay, since their batches are moved one by one."""
    if isinstance(samples, Normalized):
        return Normalized(on_device(samples.raw, device), samples.normalization, samples.timed)
    return samples.to(device) if isinstance(samples, Tensor) else samples
