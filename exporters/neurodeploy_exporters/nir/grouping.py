"""Grouped convolutions as plain ones, with zeros between the groups: adding zeros changes no sum.

NIR has groups, but its own package finds another number of input channels in them than there are, and none of the four
frameworks that read NIR can read them (`docs/nir.md`).
"""

from math import prod

import numpy as np
from numpy.typing import NDArray


def dense(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """`[C_out, C_in / groups, *kernel]` → `[C_out, C_in, *kernel]`."""
    if groups == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    spread = np.zeros((groups, outputs // groups, groups, inputs, prod(kernel)), np.float32)
    number = np.arange(groups)
    spread[number, :, number] = weight.reshape(groups, outputs // groups, inputs, -1)
    return spread.reshape(outputs, groups * inputs, *kernel)


def grouped(weight: NDArray[np.float32], groups: int) -> NDArray[np.float32]:
    """The inverse of `dense`; what is between the groups is left out."""
    if groups == 1:
        return weight
    outputs, inputs, *kernel = weight.shape
    number = np.arange(groups)
    spread = weight.reshape(groups, outputs // groups, groups, inputs // groups, -1)
    return np.ascontiguousarray(spread[number, :, number]).reshape(outputs, inputs // groups, *kernel)
