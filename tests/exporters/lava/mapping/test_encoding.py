import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy_exporters.lava.mapping import load
from neurodeploy_exporters.lava.mapping.usage import Reach, synapse_bits

LOIHI1, LOIHI2 = (load(name).encoding for name in ("loihi1", "loihi2"))


def listed(entries, bits):
    """One list of synapses, block by block."""
    total = 0
    while entries > 0:
        now = min(entries, 64)
        total += -(-(now * bits + 10) // 64) * 64
        entries -= now
    return total


def reach(*counts):
    return Reach(np.array(counts), (slice(0, len(counts)),), None)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=8), st.integers(300, 1024), st.integers(0, 6))
def test_lists_are_stored_in_blocks_of_64_rounded_up_to_words_in_the_smaller_of_two_formats(counts, neurons, delay_bits):
    index = 9 if neurons <= 512 else 10
    used = [count for count in counts if count]
    full = sum(listed(neurons, 8 + delay_bits) for _ in used)
    indexed = sum(listed(count, 8 + delay_bits + index) for count in used)
    assert synapse_bits(reach(*counts), neurons, delay_bits, LOIHI1) == min(full, indexed)


@pytest.mark.parametrize(("neurons", "words"), [(1, 1), (6, 1), (7, 2), (64, 9), (65, 10), (128, 18)])
def test_a_full_list_needs_no_index(neurons, words):
    assert synapse_bits(reach(neurons), neurons, 0, LOIHI1) == 64 * words


def test_a_convolution_whose_kernel_is_shared_is_stored_once_however_many_places_it_serves():
    lists = np.array([[24] * 27, [24] * 27])
    small, large = (Reach(np.full(size, 24), (slice(0, size),), lists) for size in (50, 5000))
    assert synapse_bits(small, 240, 0, LOIHI2) == synapse_bits(large, 4000, 0, LOIHI2) == 27 * 4 * 64
    assert synapse_bits(large, 4000, 0, LOIHI1) > synapse_bits(small, 240, 0, LOIHI1) > 27 * 4 * 64


def test_lavas_table_for_a_dense_layer_of_10_neurons_and_64_inputs_is_met():
    """lava-dl's MNIST tutorial: 1.60 % of the synapse memory of a core."""
    lists = reach(*[10] * 64)
    indexed = listed(10, 8 + 6) * 64
    assert indexed == 64 * 192
    assert synapse_bits(lists, 10, 0, LOIHI2) <= indexed
    assert round(100 * indexed / load("loihi2").limits["synapse_bits"].value, 1) == 1.6
