"""How Intel's compiler divides a network over the cores of Loihi 2, as far as its published output tells.

The compiler is not public. lava-dl's notebooks hold what it printed for four networks whose files are public too: cores,
synapse words and neurons of every layer. The rules here give all of these numbers of cores but one (docs/loihi.md):

- A population over an image is cut into slices of 2^k columns, all rows and channels of them, the widest of fewer neurons than
  a core has.
- A population without axes is cut into n, 2 n, … parts: as long as a part exceeds a core by a factor, rounded up, there are so
  many times as many parts.
- Every axon has a list with a synapse for each neuron of the core, zeros too: the bits of the weight, rounded up to what the
  chip has, and some more for each synapse and each list, in whole words. A convolution has a list for each tap and source
  channel.
"""

from collections.abc import Iterator
from math import ceil, floor, log2, prod

import numpy as np

from neurodeploy_exporters.lava.connection import Convolution, Integers, Matrix, Shape
from neurodeploy_exporters.lava.mapping.chip import Fitted

_WEIGHT_BITS = (1, 2, 3, 4, 5, 6, 8)  # there is no format of 7


def weight_bits(weight: Integers) -> int:
    """Bits of a weight, sign included, without those at its end that are 0 in every weight."""
    low, high = int(weight.min()), int(weight.max())
    if not (low or high):
        return _WEIGHT_BITS[0]
    largest = max(high + 1, -low)
    common = int(np.bitwise_or.reduce(np.abs(weight), axis=None))
    unused = (common & -common).bit_length() - 1
    needed = max(1, ceil(log2(largest)) - unused + (low < 0))
    return next((bits for bits in _WEIGHT_BITS if bits >= needed), _WEIGHT_BITS[-1])


def synapse_bits(connection: Convolution | Matrix, channels: int, neurons: int, fitted: Fitted) -> int:
    """Memory of a connection into one core.

    Args:
        connection: all of its weights.
        channels, neurons: of the target that the core holds.
        fitted: bits beside the weight's.
    """
    own = weight_bits(connection.weight)
    if isinstance(connection, Convolution):
        lists = prod(connection.weight.shape[1:]) * connection.groups
        each = -(-channels // connection.groups) * (own + fitted.kernel_bits)
    else:
        lists, each = connection.weight.shape[1], neurons * (own + fitted.matrix_bits)
    return lists * -(-(each + fitted.list_bits) // fitted.word_bits) * fitted.word_bits


def slices(shape: Shape, neurons: int) -> Iterator[Shape]:
    """Sizes of slices of an image `(C, H, W)`, the one that the compiler takes first; none where one column is too large.

    Args:
        shape: of the population.
        neurons: that a core can have.
    """
    column = prod(shape[:-1])
    if column > neurons:
        return
    widest = 1 << min(floor(log2(neurons // column)), (shape[-1] - 1).bit_length())
    while widest:
        yield (*shape[:-1], min(widest, shape[-1]))
        widest //= 2
