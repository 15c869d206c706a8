"""What every data set's settings in a recipe have in common."""

from abc import abstractmethod

from pydantic import BaseModel, ConfigDict

from neurodeploy.data.dataset import DataSet


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
        """The samples, in memory.

        Raises:
            UserError: its files are missing or damaged.
        """
