"""Parts of a data set in which every class has its share."""

import torch
from torch import Tensor


def stratified(labels: Tensor, count: int, order: Tensor) -> Tensor:
    """Choose `count` samples, of every class as many as its share of all; the rest goes to the largest remainders.

    Args:
        labels: int64 `[N]`.
        count: at most N.
        order: permutation of 0 … N − 1; of each class its first ones are taken.

    Returns:
        Numbers of samples, ascending, int64 `[count]`.
    """
    of_class = torch.bincount(labels)
    exact = of_class.double() * count / max(1, len(labels))
    quota = exact.floor().long()
    remainders = (exact - quota).argsort(descending=True, stable=True)
    quota[remainders[: count - int(quota.sum())]] += 1
    return first_in(labels, quota, order)


def first_in(labels: Tensor, quota: Tensor, order: Tensor) -> Tensor:
    """Of each class c the first `quota[c]` samples in an order; their numbers, ascending.

    Args:
        labels: int64 `[N]`.
        quota: int64 `[K]`.
        order: permutation of 0 … N − 1.
    """
    rank = _rank_in_class(labels[order])
    return order[rank < quota[labels[order]]].sort().values


def in_turn(labels: Tensor) -> Tensor:
    """The order in which classes take turns: the first sample of each, the second of each, and so on. int64 `[N]`.

    Whoever takes the first samples of a set then has samples of all classes.
    """
    return (_rank_in_class(labels) * (int(labels.max()) + 1 if len(labels) else 1) + labels).argsort(stable=True)


def train_and_test(labels: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split into training and test part: of each class `share`, but at least one sample in each part.

    Args:
        labels: int64 `[N]`; every class has two samples or more.
        share: of the samples of a class, from 0 to 1, that the test part gets.
        seed: of the choice; the same on every machine.

    Returns:
        Numbers of the training samples and of the test samples, ascending.
    """
    of_class = torch.bincount(labels)
    quota = (of_class.double() * share).round().long().clamp_min(1).minimum(of_class - 1).clamp_min(0)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    test = first_in(labels, quota, order)
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[test] = False
    return kept.nonzero()[:, 0], test


def _rank_in_class(labels: Tensor) -> Tensor:
    """How many samples of the same class come before each."""
    by_class = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    starts = (counts.cumsum(0) - counts)[labels[by_class]]
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts
    return rank
