"""What a model is given: batches of one tensor or of several, looked at before anything runs."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurodeploy.io.errors import UserError
from neurodeploy_energy.count.samples import check_layout, check_samples


@dataclass(frozen=True, eq=False)
class Several:
    """Inputs of a model that takes more than one tensor.

    Attributes:
        tensors: one for each input, in the order of the model's; samples along the same axis in all.
    """

    tensors: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """Of the first."""
        return self.tensors[0].shape

    def dim(self) -> int:
        """Axes of the first."""
        return self.tensors[0].dim()

    def split(self, size: int, axis: int = 0) -> "list[Several]":
        """So many samples at a time."""
        return [Several(parts) for parts in zip(*(x.split(size, axis) for x in self.tensors), strict=True)]

    def narrow(self, axis: int, first: int, size: int) -> "Several":
        """Some samples, as of a tensor."""
        return Several(tuple(x.narrow(axis, first, size) for x in self.tensors))

    def unbind(self, axis: int) -> "list[Several]":
        """One time step at a time."""
        return [Several(parts) for parts in zip(*(x.unbind(axis) for x in self.tensors), strict=True)]


Batches = Tensor | Several | Iterable[Tensor | Several | tuple[Tensor, ...]]


def tensors_of(x: Tensor | Several) -> tuple[Tensor, ...]:
    """The inputs of a model, one tensor for each."""
    return x.tensors if isinstance(x, Several) else (x,)


_FEW = 3


def a_few(x: Tensor | Several, axis: int) -> Tensor | Several:
    """The first samples of a batch, as many as it takes to see whether one counts alone what it counts among others."""
    return x.narrow(axis, 0, min(_FEW, x.shape[axis]))


def input_of(batch: object, name: str) -> Tensor | Several:
    """What a model is called with, of a batch of any form.

    Raises:
        UserError: it is no tensor and no tuple that begins with one, or a tensor of another kind than dense numbers.
    """
    if isinstance(batch, Several):
        return Several(tuple(_input_of_one(one, name) for one in batch.tensors))
    return _input_of_one(batch, name)


def _input_of_one(batch: object, name: str) -> Tensor:
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor) or x.dim() == 0:
        kind = "number" if isinstance(x, Tensor) else type(x).__name__
        raise UserError(f"{name}: a batch is a {kind}, a tensor or a tuple that begins with one expected")
    check_layout(x, name)
    return x


def check_batch(x: Tensor | Several, axis: int, before: int, name: str) -> None:
    """Refuse values that cannot be counted; see `check_samples`."""
    for tensor in tensors_of(x):
        check_samples(tensor, axis, before, name)
