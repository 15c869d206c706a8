"""Data sets of a plain function or class of the user's, which returns training and test samples."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neurodeploy.data.dataset import DataSet, DataSetSettings, from_bytes
from neurodeploy.io.errors import UserError
from neurodeploy.io.signatures import OfFunction, settings_of


class DataSetOfFunction(OfFunction, DataSetSettings):
    """`kind = "my_module:function"`: called with the settings, it returns a `DataSet`, or what `data_set_of` takes."""

    def load(self) -> DataSet:
        return data_set_of(self.called(), name=type(self).__name__, origin=self.what)


def data_function(kind: str, function: Callable[..., Any]) -> type[OfFunction]:
    """Settings of a function that returns a data set; see `neurodeploy.io.signatures.settings_of`."""
    return settings_of(DataSetOfFunction, kind, function, what="data set", ours=())


def data_set_of(made: Any, *, name: str, origin: str) -> DataSet:
    """A data set of what a function of the user's returned.

    Args:
        made: a `DataSet`; or a pair `(train, test)`, each of which is a pair `(samples, labels)` of arrays or tensors, or a
            torch `Dataset` of such items. Samples `[N, …]` are numbers; bytes become `byte / 256`. Labels `[N]` are whole
            numbers from 0, and the highest says how many classes there are.
        name: of the data set.
        origin: for messages.

    Raises:
        UserError: it is something else; or there are no samples, others than labels, values that are not finite, or samples of
            two shapes.
    """
    if isinstance(made, DataSet):
        return made
    if not (isinstance(made, Sequence) and len(made) == 2):
        raise UserError(f"{origin}: {_described(made)} found, a DataSet or a pair (train, test) expected")
    (train_x, train_y), (test_x, test_y) = (_part(part, f"{origin}: {side}") for part, side in zip(made, _SIDES, strict=True))
    if train_x.shape[1:] != test_x.shape[1:]:
        shapes = f"{tuple(train_x.shape[1:])} for training and {tuple(test_x.shape[1:])} for the test"
        raise UserError(f"{origin}: samples of shape {shapes} found, one shape expected")
    classes = int(train_y.max()) + 1
    if int(test_y.max()) >= classes:
        raise UserError(f"{origin}: test labels: class {int(test_y.max())} found, which no training sample has")
    if classes < 2:
        raise UserError(f"{origin}: training labels: a single class found, at least two expected")
    note = f"{origin}, {len(train_y):,} training and {len(test_y):,} test samples"
    return DataSet(name, train_x, train_y, test_x, test_y, classes, note)


_SIDES = ("training", "test")


def _part(part: Any, origin: str) -> tuple[Tensor, Tensor]:
    """Samples, float32 `[N, …]`, and labels, int64 `[N]`."""
    if isinstance(part, Sequence) and len(part) == 2:
        samples, labels = part
    elif hasattr(part, "__getitem__") and hasattr(part, "__len__") and not isinstance(part, Tensor | np.ndarray):
        samples, labels = _items(part, origin)
    else:
        raise UserError(f"{origin}: {_described(part)} found, a pair (samples, labels) or a torch Dataset expected")
    x, y = _numbers(samples, f"{origin} samples"), _numbers(labels, f"{origin} labels")
    if y.ndim != 1 or x.ndim < 2 or len(x) != len(y) or not len(y):
        shapes = f"{tuple(x.shape)} and labels of shape {tuple(y.shape)}"
        raise UserError(f"{origin}: samples of shape {shapes} found, [N, …] and [N] expected, N at least 1")
    if y.is_floating_point() or y.is_complex() or int(y.min()) < 0:
        raise UserError(f"{origin} labels: {y.dtype} from {y.min()} found, whole numbers from 0 expected")
    x = from_bytes(x) if x.dtype == torch.uint8 else x.float()
    if not torch.isfinite(x).all():
        broken = int((~torch.isfinite(x.reshape(len(x), -1)).all(1)).nonzero()[0])
        raise UserError(f"{origin} samples: sample {broken} holds values that are not finite")
    return x, y.long()


def _items(dataset: Any, origin: str) -> tuple[Tensor, Tensor]:
    """All items of a torch `Dataset`, in memory."""
    try:
        items = [dataset[i] for i in range(len(dataset))]
        return torch.stack([_numbers(x, origin) for x, _ in items]), torch.tensor([int(y) for _, y in items])
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{origin}: items (sample, label) expected, with samples of one shape: {error}") from None


def _numbers(values: Any, origin: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{origin}: values of type {array.dtype} found, numbers expected")
    return torch.from_numpy(np.ascontiguousarray(array))


def _described(given: Any) -> str:
    size = f" of {len(given)}" if isinstance(given, Sequence) else ""
    return f"{type(given).__name__}{size}"
