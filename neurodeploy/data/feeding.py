"""Batches for training and evaluation in a given order, read ahead by worker processes where samples are not in memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neurodeploy.data.samples import Samples, in_memory, seeded
from neurodeploy.io.errors import Failure, UserError

Fed: TypeAlias = tuple[Tensor, Tensor, Tensor]


def feed(
    samples: Samples, labels: Tensor, batches: Sequence[Tensor], workers: int = 0, *, seed: int | None = None
) -> Iterator[Fed]:
    """Read batches one after the other.

    What comes out does not depend on the number of workers, and no random number is drawn from torch's generators.

    Args:
        samples: `[N, …]`.
        labels: int64 `[N]`.
        batches: numbers of the samples of each batch, int64 `[B]` each; in this order they come.
        workers: processes that read ahead, two batches each; 0: this one reads when it is asked. A tensor needs none.
        seed: of what is drawn at random while samples are read; None: that of torch's generator, in training the epoch's.

    Yields:
        Numbers, samples and labels of a batch, on the CPU or where tensors are.

    Raises:
        UserError: a sample cannot be read; the message names it.
        Failure: a worker died.
    """
    samples = seeded(samples, torch.initial_seed() if seed is None else seed)
    if not workers or in_memory(samples) or not batches:
        for numbers in batches:
            yield numbers, samples[numbers], labels[numbers]
        return
    loader = DataLoader(
        _Reading(samples, labels, batches),
        batch_size=None,  # an item is a whole batch
        num_workers=min(workers, len(batches)),
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # the loader seeds its workers from it: the generators of the training stay untouched
        worker_init_fn=_alone_on_its_core,
    )
    try:
        for item in loader:
            if isinstance(item, Exception):
                raise item
            yield item
    except RuntimeError as error:
        if isinstance(error, Failure) or "DataLoader worker" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise Failure(f"data.workers: {reason}; give it fewer, or 0 to read in the process that trains") from None


class _Reading(Dataset[Any]):
    """Batch number → its numbers, samples and labels, or the error of the toolkit that reading it ended with.

    An exception raised in a worker would come back with the whole traceback for a message.
    """

    def __init__(self, samples: Samples, labels: Tensor, batches: Sequence[Tensor]) -> None:
        self._samples, self._labels, self._batches = samples, labels, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> Fed | Exception:
        numbers = self._batches[number]
        try:
            return numbers, self._samples[numbers], self._labels[numbers]
        except (UserError, Failure) as error:
            return error


def _as_it_is(item: Any) -> Any:
    return item


def _alone_on_its_core(_worker: int) -> None:
    torch.set_num_threads(1)


def in_batches(samples: Samples, size: int, workers: int = 0) -> Iterable[Tensor]:
    """All samples in their order, `size` at a time; can be gone through more than once.

    Args:
        samples: `[N, …]`.
        size: samples of a batch.
        workers: see `feed`.
    """
    return samples.split(size) if isinstance(samples, Tensor) else _InBatches(samples, size, workers)


@dataclass(frozen=True, eq=False)
class _InBatches:
    samples: Samples
    size: int
    workers: int

    def __iter__(self) -> Iterator[Tensor]:
        count = len(self.samples)
        batches, unlabelled = torch.arange(count).split(self.size), torch.zeros(count, dtype=torch.long)
        return (batch for _, batch, _ in feed(self.samples, unlabelled, batches, self.workers, seed=0))
