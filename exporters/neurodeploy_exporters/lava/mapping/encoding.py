"""Synapse memory: how many bits the lists of a core's input axons take. See `Encoding` for the format."""

import numpy as np

from neurodeploy_exporters.lava.mapping.chip import Encoding
from neurodeploy_exporters.lava.mapping.geometry import Reach
from neurodeploy_exporters.lava.values import Integers


def synapse_bits(reach: Reach, neurons: int, delay_bits: int, encoding: Encoding) -> int:
    """Bits of one connection into one core, in the smaller of the two formats: a weight for every neuron, or with an index.

    Args:
        reach: which source neurons reach the core.
        neurons: of the core.
        delay_bits: per synapse.
        encoding: of the chip.
    """
    if encoding.shared_kernels and reach.lists is not None:
        present, seen = reach.lists
    else:
        present = reach.counts[reach.counts > 0]
        seen = np.full_like(present, neurons)
    widest = int(seen.max(initial=1))
    index = next((bits for bits in encoding.index_bits if 1 << bits >= widest), widest.bit_length())
    return min(_bits(seen, delay_bits, encoding), _bits(present, delay_bits + index, encoding))


def _bits(lists: Integers, extra: int, encoding: Encoding) -> int:
    each = encoding.weight_bits + encoding.tag_bits + extra
    full, rest = np.divmod(lists, encoding.synapses_per_block)
    whole = full * _words(np.asarray(encoding.synapses_per_block * each + encoding.header_bits), encoding)
    last = np.where(rest > 0, _words(rest * each + encoding.header_bits, encoding), 0)
    return int((whole + last).sum()) * encoding.word_bits


def _words(bits: Integers, encoding: Encoding) -> Integers:
    return -(-bits // encoding.word_bits)
