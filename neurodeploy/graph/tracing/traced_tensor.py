"""What a tensor of a running module is in the graph: which node's output, and which of its axes are time and batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, TypeVar

from torch import Tensor

from neurodeploy.graph.ops import Shape

Lead: TypeAlias = tuple[str, ...]
"""The axes before those of a sample: "B", "T", "1" for a time axis of one step, "TB" and "BT" for both in one.

`("B", TIME_LAST)` alone has an axis behind those of the sample.
"""
TIME_LAST = "…T"
Inputs: TypeAlias = Tensor | tuple[Tensor, ...]
"""What a module takes: a tensor, or one for each of its inputs."""


def each_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """The tensors of all inputs."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


One = TypeVar("One")


@dataclass(frozen=True)
class TracedTensor:
    """A tensor that depends on the samples.

    Attributes:
        node: whose output it is.
        lead: its first axes.
        shape: of one sample (and one time step): the axes after them.
        skip: number of first time steps that the tensor lacks; nothing but their mean over time may read such a part.
    """

    node: str
    lead: Lead
    shape: Shape
    skip: int = 0

    @property
    def timed(self) -> bool:
        return any("T" in axis for axis in self.lead)

    @property
    def time_last(self) -> bool:
        """Whether the tensor is `[B, …, T]`."""
        return self.lead[-1:] == (TIME_LAST,)

    @property
    def axes(self) -> int:
        """Of the tensor."""
        return len(self.lead) + len(self.shape)

    @property
    def channel_axis(self) -> int:
        """Number of the first axis of a sample among those of the tensor."""
        return 1 if self.time_last else len(self.lead)

    def sample_axis(self, dim: int) -> int:
        """Number of an axis of the tensor among those of a sample; of batch and time that in `lead`, negative from its end."""
        axis = dim % self.axes
        if self.time_last:
            return -1 if axis == self.axes - 1 else axis - 1 if axis else -2
        return axis - len(self.lead)

    def name_of(self, dim: int) -> str:
        """What `lead` calls an axis of the tensor, "T" for time last; empty for one of a sample."""
        axis = self.sample_axis(dim)
        return "" if axis >= 0 else "T" if self.lead[axis] == TIME_LAST else self.lead[axis]

    def parted(self, per_axis: Sequence[One]) -> tuple[list[One], list[One]]:
        """Of one thing for each axis of the tensor those of the axes of `lead`, and those of the axes of a sample."""
        if self.time_last:
            return [per_axis[0], per_axis[-1]], list(per_axis[1:-1])
        return list(per_axis[: len(self.lead)]), list(per_axis[len(self.lead) :])

    def step_lead(self) -> Lead:
        """The first axes of one step."""
        return tuple(axis for axis in self.lead if axis not in ("T", TIME_LAST))


def arranged(signal: TracedTensor, tensor: Tensor, batch: int) -> Tensor:
    """The tensor as a graph holds it: `[T, B, *shape]`, or `[1, B, *shape]` without time."""
    match signal.lead:
        case ("B",):
            return tensor.unsqueeze(0)
        case ("B", "T"):
            return tensor.transpose(0, 1)
        case ("TB",):
            return tensor.unflatten(0, (-1, batch))
        case ("BT",):
            return tensor.unflatten(0, (batch, -1)).transpose(0, 1)
        case ("B", axis) if axis == TIME_LAST:
            return tensor.movedim(-1, 0)
    return tensor


def regrouped(signal: TracedTensor, before: Shape, after: Shape, batch: int) -> tuple[Lead, Shape] | None:
    """What the axes are once a tensor is viewed in another shape; None if that mixes samples or steps with other axes.

    Args:
        signal: the tensor.
        before: its whole shape.
        after: the shape that it gets.
        batch: B.
    """
    if signal.time_last:
        alike = after[:1] == before[:1] and after[-1:] == before[-1:] and len(after) > 1
        return (signal.lead, after[1:-1]) if alike and prod(after[1:-1]) == prod(signal.shape) else None
    whole = prod(before[: len(signal.lead)])
    steps = whole // batch
    forms: dict[Lead, Shape]
    if not signal.timed:
        forms = {("B",): (batch,), ("1", "B"): (1, batch)}
    elif signal.lead in {("T", "B"), ("TB",)}:
        forms = {("T", "B"): (steps, batch), ("TB",): (whole,)}
    else:
        forms = {("B", "T"): (batch, steps), ("BT",): (whole,)}
    for lead in sorted(forms, key=lambda form: form != signal.lead):
        sizes = forms[lead]
        if after[: len(sizes)] == sizes and prod(after[len(sizes) :]) == prod(signal.shape):
            return lead, after[len(sizes) :]
    return None
