"""Data sets of a plain function or class of the user's, which returns training and test samples."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from neurodeploy.data.dataset import DataSet, DataSetSettings
from neurodeploy.data.torch_data import DataAtHand, parts_of
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
        made: a `DataSet`; or what the function of a `TorchDataSet` returns. Bytes become `byte / 256`.
        name: of the data set.
        origin: for messages.

    Raises:
        UserError: see `neurodeploy.data.as_data_set`.
    """
    if isinstance(made, DataSet):
        return made
    train, test = parts_of(made)
    return replace(DataAtHand(kind="given", name=origin, train_part=train, test_part=test, held_out=True).load(), name=name)
