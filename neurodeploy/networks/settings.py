"""What every network's settings in a recipe have in common."""

from abc import abstractmethod
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from neurodeploy.networks.activation import Activations

Width = Annotated[int, Field(ge=1, le=65536)]
Stride = Annotated[int, Field(ge=1, le=8)]
Count = Annotated[int, Field(ge=1, le=100)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Side = Annotated[int, Field(ge=1, le=4096)]
Size = Side | tuple[Side, Side]
"""Resolution of a sample: the side of a square, or height and width."""


class NetworkSettings(BaseModel):
    """Validated settings of one kind of network; a subclass names its `kind`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        """The network with fresh weights.

        Args:
            in_channels: channels of a sample, or of one event frame.
            classes: K.
            activations: ReLU (teacher) or spiking (student).

        Raises:
            UserError: the network cannot be built so; the message names the layer or the setting.
        """


def one_per(what: str, found: int, of: str, expected: int) -> None:
    """Refuse two lists of settings that differ in length.

    Raises:
        ValueError: with both lengths, as pydantic wants it.
    """
    if found != expected:
        raise ValueError(f"{found} {what} found, {expected} expected (one per {of})")
