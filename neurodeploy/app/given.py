"""Data as the user has them: a pair of tensors or arrays, or a data set of this toolkit, as a `DataSet`."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.data import DataSet, DataSetSettings
from neurodeploy.data.checking import as_numbers, check_values, checked_labels
from neurodeploy.io.errors import UserError

Values: TypeAlias = Tensor | NDArray[Any]
Data: TypeAlias = DataSet | DataSetSettings | tuple[Values, Values]


@dataclass(frozen=True, eq=False)
class GivenData:
    """Data that were given to a verb.

    Attributes:
        data: checked.
        settings: that load them again; None if they were given in memory.
        classes: K where the data say it.
    """

    data: DataSet
    settings: DataSetSettings | None = None
    classes: int | None = None


def as_data(data: Data, test: Data | None = None) -> GivenData:
    """Data as a training takes them.

    Args:
        data: training set, and test set where it has one.
        test: whose samples are the test set instead; of a data set, its test set.

    Raises:
        UserError: they are something else, there is no sample, values are not finite, or labels are no whole numbers.
    """
    if isinstance(data, DataSetSettings):
        loaded = data.load()
        given = GivenData(loaded, data, loaded.classes)
    elif isinstance(data, DataSet):
        given = GivenData(data, None, data.classes)
    else:
        samples, labels = _pair(data, "data")
        note = f"{len(labels):,} samples given in memory"
        none = torch.zeros(0, dtype=torch.long)
        given = GivenData(DataSet("data", samples, labels, samples[:0], none, int(labels.max()) + 1, note))
    if not len(given.data.train_labels):
        raise UserError("data: no training sample found, at least one expected")
    if test is None:
        return given
    if isinstance(test, DataSetSettings):
        test = test.load()
    held, known = (test.test_samples, test.test_labels) if isinstance(test, DataSet) else _pair(test, "test")
    if tuple(held.shape[1:]) != tuple(given.data.train_samples.shape[1:]):
        found, expected = tuple(held.shape[1:]), tuple(given.data.train_samples.shape[1:])
        raise UserError(f"test: samples of shape {found} found, {expected} expected, as in the training set")
    return replace(given, data=replace(given.data, test_samples=held, test_labels=known))


def _pair(given: Any, what: str) -> tuple[Tensor, Tensor]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UserError(f"{what}: {type(given).__name__} found, a pair (samples, labels) or a data set expected")
    values = as_numbers(given[0], f"{what}: samples")
    if values.ndim < 2 or not len(values):
        raise UserError(f"{what}: samples of shape {tuple(values.shape)} found, [N, …] with at least one sample expected")
    check_values(values, f"{what}: samples")
    return torch.from_numpy(np.asarray(values, np.float32)), checked_labels(given[1], len(values), what)
