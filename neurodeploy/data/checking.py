"""What data of a user must be before anything is trained on them: finite values, labels from 0 to K − 1, the same classes."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.io.errors import UserError
from neurodeploy.io.values import as_numbers


def checked_labels(values: Any, count: int, origin: str | Path, *, classes: int | None = None) -> Tensor:
    """Labels as int64 `[N]`.

    Args:
        values: whole numbers `[N]` or `[N, 1]`, of any type.
        count: N, of the samples.
        origin: what the error names.
        classes: K, if it is known.

    Raises:
        UserError: their shape or number is another, or one is no whole number from 0 to K − 1; the message names its sample.
    """
    array = as_numbers(values, origin)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        found = tuple(array.shape)
        raise UserError(f"{origin}: labels of shape {found} found, [{count}] expected, one whole number for each sample")
    if len(array) != count:
        raise UserError(f"{origin}: {len(array):,} labels found for {count:,} samples; as many expected")
    finite = np.isfinite(array)
    whole = finite & (np.floor(np.where(finite, array, 0)) == array)
    if not whole.all():
        first = int((~whole).argmax())
        raise UserError(f"{origin}: label of sample {first} is {array[first]}, a whole number expected")
    most = 2**31 if classes is None else classes
    outside = (array < 0) | (array >= most)
    if outside.any():
        first = int(outside.argmax())
        expected = "0 or more" if most == 2**31 or array[first] >= 2**31 else f"0 to {most - 1}"
        raise UserError(f"{origin}: label of sample {first} is {array[first]:.0f}, {expected} expected")
    return torch.from_numpy(array.astype(np.int64))


def classes_of(train: Tensor, test: Tensor, origin: str | Path, classes: int | None = None) -> int:
    """K, from the labels of the training set, or as it is given.

    Args:
        train, test: int64 labels `[N]` each.
        origin: what the error names.
        classes: K if it is given; then a class may be without samples.

    Raises:
        UserError: a class below the highest has no training sample, one occurs in the test set alone, or there is only one.
    """
    if not len(train):
        raise UserError(f"{origin}: no training samples found, at least one expected")
    known = torch.bincount(train)
    if classes is None and (known == 0).any():
        missing = int((known == 0).to(torch.uint8).argmax())
        raise UserError(
            f"{origin}: no training sample of class {missing} found, though labels go up to {len(known) - 1}; number classes "
            "from 0 without gaps, or set data.classes"
        )
    count = classes or len(known)
    if count < 2:
        raise UserError(f"{origin}: one class found, at least two expected")
    if len(test) and int(test.max()) >= len(known) and classes is None:
        first = int((test >= len(known)).to(torch.uint8).argmax())
        raise UserError(
            f"{origin}: label of test sample {first} is {int(test[first])}, a class without training samples; "
            f"0 to {len(known) - 1} expected"
        )
    return count


def check_same_classes(train: Sequence[str], test: Sequence[str], origin: str | Path) -> None:
    """Refuse a test set with other classes than the training set: their numbers would mean different things.

    Raises:
        UserError: a name occurs in one alone.
    """
    only = [
        f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''} only in {part}"
        for part, names in (("training", _without(train, test)), ("test", _without(test, train)))
        if names
    ]
    if only:
        raise UserError(f"{origin}: the classes of training and test set differ: {'; '.join(only)}; the same ones expected")


def _without(names: Iterable[str], others: Sequence[str]) -> list[str]:
    known = set(others)
    return [name for name in names if name not in known]
