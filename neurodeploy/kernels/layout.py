"""The order of a tensor's values in memory, so that a kernel can go through them one after the other whatever the axes are.

Neurons do not see each other, so their order is free: convolutions on a CPU write their channels last (`kernels.convolution`),
and copying that into another order would cost more than the neurons' update.
"""

from dataclasses import dataclass
from typing import overload

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """In which order the axes of one time step lie in memory.

    Attributes:
        axes: of a step, the one with the largest stride first.
    """

    axes: tuple[int, ...]

    @classmethod
    def of(cls, sequence: Tensor) -> "Layout":
        """The order of each step of `[T, …]`; the order of the axes themselves where a step has gaps or repeats its values."""
        plain = cls(tuple(range(sequence.ndim - 1)))
        strides = sequence.stride()[1:]
        found = cls(tuple(sorted(plain.axes, key=lambda axis: -strides[axis])))
        return found if len(sequence) and found.lay(sequence)[0].is_contiguous() else plain

    @overload
    def lay(self, x: Tensor) -> Tensor: ...

    @overload
    def lay(self, x: None) -> None: ...

    @overload
    def lay(self, x: Tensor | None) -> Tensor | None: ...

    def lay(self, x: Tensor | None) -> Tensor | None:
        """A view of `[T, …]`, or of one step, with its axes in this order."""
        if x is None:
            return None
        lead = x.ndim - len(self.axes)
        return x.permute(*range(lead), *(lead + axis for axis in self.axes))

    def restore(self, x: Tensor) -> Tensor:
        """What `lay` was given."""
        lead = x.ndim - len(self.axes)
        places = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return x.permute(*range(lead), *(lead + place for place in places))
