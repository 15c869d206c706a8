"""A memory model with a hierarchy: SRAM of several sizes, DRAM, reuse of what was read, and a network on chip.

It stands beside the model of Lemaire et al., which has one memory for each kind of value and reuses nothing. What Yan et al.
(arXiv 2409.08290) say of such a model in words, that spikes are sparse and dense values shared, is kept apart here too; their
formulas are not used, and the constants are others. The equations are this package's own, and are in the docstrings.
"""

from dataclasses import dataclass
from math import ceil

from neurodeploy_energy.count.layer import SynapseGeometry
from neurodeploy_energy.declared import Count, Declared, Positive
from neurodeploy_energy.price.memory import Traffic, ValueWidths


@dataclass(frozen=True)
class Sram(Declared):
    """A memory on the chip: its size, and what one access to a word of it costs in pJ."""

    bytes: Positive
    access_pj: Count


@dataclass(frozen=True)
class Hierarchy(Declared):
    """What moving data costs in a hierarchy of memories and on a network on chip.

    Attributes:
        name: as profiles append it to theirs.
        title, source, note: for people.
        word_bits: of one access.
        dram_pj: one access to DRAM, pJ.
        hop_pj_per_bit: one bit over one hop of the network on chip, pJ.
        hops: that a value or a spike takes from layer to layer.
        input_reuse: output channels that an input serves once it was read by a dense layer.
        weight_reuse: output positions that a weight serves once it was read by a dense layer.
        sram: from the smallest to the largest.
    """

    name: str
    title: str
    source: str
    note: str
    word_bits: Positive
    dram_pj: Count
    hop_pj_per_bit: Count
    hops: Count
    input_reuse: Positive
    weight_reuse: Positive
    sram: tuple[Sram, ...]

    def of_spikes(self, layer: SynapseGeometry, spikes: float, sops: float, widths: ValueWidths) -> Traffic:
        """Of a synapse layer on spikes, per sample.

        With `taps = sops · groups / out_channels`, the kernel positions at which a spike meets an output, and
        `words = ⌈out_channels / groups · bits / word⌉`, the words of one such position:

        ```
        E = spikes · address bits · (hops · E_hop + 2 · E_SRAM / word)    network, and a queue that is written and read
          + taps · words · E_SRAM(weights)                                weights
          + 2 · taps · words · E_SRAM(potentials)                         potentials, read and written
          + weights from DRAM, once, if they are too large
        ```
        """
        outputs, bits = layer.out_channels // layer.groups, widths.values
        touched = sops / outputs * ceil(outputs * bits / self.word_bits)
        address = max(1, (layer.input_positions - 1).bit_length())
        queue = 2 * self._sram_pj(0) / self.word_bits
        return Traffic(
            spikes * address * (self.hops * self.hop_pj_per_bit + queue)
            + touched * self._sram_pj(layer.weights * bits)
            + 2 * touched * self._sram_pj(layer.output_positions * bits)
            + self._fetched_pj(layer.weights * bits),
            address_acs=touched,
        )

    def of_dense(self, layer: SynapseGeometry, macs: float, evaluations: float, widths: ValueWidths) -> Traffic:
        """Of a synapse layer on analog values, per sample.

        ```
        E = MACs / input reuse · bits / word · E_SRAM(inputs) + MACs / weight reuse · bits / word · E_SRAM(weights)
          + evaluations · outputs · bits / word · E_SRAM(outputs) + evaluations · inputs · bits · hops · E_hop
          + inputs from DRAM in each evaluation, weights once, if they are too large
        ```

        An input serves no more channels than there are behind it, and a weight no more positions.
        """
        channels = layer.out_channels // layer.groups
        shared = min(self.input_reuse, channels), min(self.weight_reuse, layer.output_positions // layer.out_channels)
        inputs = layer.input_positions * widths.activations
        outputs = layer.output_positions * widths.activations
        weights = layer.weights * widths.values
        words = {
            "inputs": macs / shared[0] * widths.activations / self.word_bits,
            "weights": macs / shared[1] * widths.values / self.word_bits,
            "outputs": evaluations * outputs / self.word_bits,
        }
        return Traffic(
            words["inputs"] * self._sram_pj(inputs)
            + words["weights"] * self._sram_pj(weights)
            + words["outputs"] * self._sram_pj(outputs)
            + evaluations * (inputs * self.hops * self.hop_pj_per_bit + self._fetched_pj(inputs))
            + self._fetched_pj(weights)
        )

    def of_neurons(self, count: int, updates: float, spikes: float, widths: ValueWidths, *, leaky: bool) -> Traffic:
        """Of spiking neurons: potentials are read and written in every update, and through DRAM if they are too large.

        The spikes are moved by the layers that read them. An update adds, a spike resets, and a leak multiplies.
        """
        moved = 2 * updates * widths.values / self.word_bits
        size = count * widths.values
        through = self.dram_pj if self._is_too_large(size) else 0.0
        return Traffic(moved * (self._sram_pj(size) + through), acs=updates + spikes, macs=updates if leaky else 0.0)

    def _sram_pj(self, bits: int) -> float:
        """One access to the smallest memory that holds so much, or to the largest that there is."""
        return next((one.access_pj for one in self.sram if bits <= 8 * one.bytes), self.sram[-1].access_pj)

    def _is_too_large(self, bits: int) -> bool:
        return bits > 8 * self.sram[-1].bytes

    def _fetched_pj(self, bits: int) -> float:
        """Of reading so much from DRAM once; nothing where it stays on the chip."""
        return ceil(bits / self.word_bits) * self.dram_pj if self._is_too_large(bits) else 0.0
