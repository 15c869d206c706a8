"""What a tensor of a running module is in the graph: which node's output, and which of its axes are time and batch."""

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from torch import Tensor

from neurodeploy.graph.ops import Shape

Lead: TypeAlias = tuple[str, ...]
"""The axes before those of a sample: "B", "T", "1" for a time axis of one step, "TB" and "BT" for both in one.

`("B", TIME_LAST)` alone has an axis behind those of the sample.
"""
TIME_LAST = "…T"


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
    def axes(self) -> int:
        """Of the tensor."""
        return len(self.lead) + len(self.shape)

    def sample_axis(self, dim: int) -> int:
        """Number of an axis of the tensor among those of a sample; negative for one of the first axes."""
        return dim % self.axes - len(self.lead)


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
