"""Data sets of a plain function or class of the user's, which returns training and test samples."""

from collections.abc import Callable
from typing import Any

from neurodeploy.data.dataset import DataSet, DataSetSettings
from neurodeploy.data.torch_data import DataAtHand, parts_of
from neurodeploy.io.signatures import OfFunction, settings_of


class DataSetOfFunction(OfFunction, DataSetSettings):
    """`kind = "my_module:function"`: called with the settings, it returns a `DataSet`, or what `TorchDataSet` takes."""

    def load(self) -> DataSet:
        made = self.called()
        if isinstance(made, DataSet):
            return made
        train, test = parts_of(made)
        return DataAtHand(kind="given", name=self.kind, train_part=train, test_part=test, held_out=True).load()


def data_function(kind: str, function: Callable[..., Any]) -> type[OfFunction]:
    """Settings of a function that returns a data set; see `neurodeploy.io.signatures.settings_of`."""
    return settings_of(DataSetOfFunction, kind, function, what="data set", ours=())
