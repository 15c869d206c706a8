"""The memory hierarchy: each term of its equations, the memory that a value is in, what is reused, and where it breaks even."""

from dataclasses import replace
from math import ceil, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy_energy import LayerRow, Report, account, read_report, verdicts
from neurodeploy_energy.count.layer import InputKinds, SynapseGeometry
from neurodeploy_energy.price.memory import ValueWidths
from neurodeploy_energy.price.profiles import load, load_memory_model

MODEL = load_memory_model("hierarchy")
FREE = replace(MODEL, hops=0.0, sram=tuple(replace(one, access_pj=0.0) for one in MODEL.sram))
SIZES = st.integers(1, 6)


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    kernel, output = (draw(st.tuples(SIZES, SIZES)) for _ in range(2))
    channels = (groups * draw(SIZES), groups * draw(SIZES))
    return SynapseGeometry("conv", *channels, kernel, (1, 1), (1, 1), groups, (9, 9), output)


def one_price(pj, **changes):
    """The model with one SRAM of any size, at one price."""
    return replace(MODEL, sram=(replace(MODEL.sram[-1], bytes=2**60, access_pj=pj),), hops=0.0, **changes)


@given(convolutions(), st.integers(0, 300), st.integers(1, 32))
def test_a_spike_reads_the_words_of_its_weights_and_reads_and_writes_those_of_its_potentials(layer, taps, bits):
    outputs = layer.out_channels // layer.groups
    found = one_price(1.0).of_spikes(layer, 0, taps * outputs, ValueWidths(bits, 8))
    words = taps * ceil(outputs * bits / 64)
    assert found.pj == pytest.approx(3 * words)
    assert found.address_acs == pytest.approx(words)


@given(convolutions(), st.integers(1, 300))
def test_a_spike_crosses_the_network_as_an_address_and_waits_in_a_queue(layer, spikes):
    address = max(1, (layer.input_positions - 1).bit_length())
    crossing = replace(FREE, hops=3.0).of_spikes(layer, spikes, 0, ValueWidths(8, 8)).pj
    assert crossing == pytest.approx(3 * spikes * address * 0.121)
    queued = one_price(10.0).of_spikes(layer, spikes, 0, ValueWidths(8, 8)).pj
    assert queued == pytest.approx(2 * spikes * address * 10 / 64)


@given(convolutions(), st.integers(1, 8))
def test_a_dense_layer_reads_what_it_reuses_less_often(layer, evaluations):
    macs = evaluations * layer.weights * prod(layer.output)
    widths = ValueWidths(8, 4)
    found = one_price(1.0, input_reuse=4, weight_reuse=3).of_dense(layer, macs, evaluations, widths)
    channels, positions = min(4, layer.out_channels // layer.groups), min(3, prod(layer.output))
    outputs = evaluations * layer.output_positions
    assert found.pj == pytest.approx((macs / channels * 4 + macs / positions * 8 + outputs * 4) / 64)


def test_a_linear_layer_has_one_position_and_reuses_no_weight():
    layer, widths = SynapseGeometry("linear", 10, 20), ValueWidths(8, 8)
    assert one_price(1.0).of_dense(layer, 200, 1, widths).pj == pytest.approx((200 / 16 + 200 + 20) * 8 / 64)


@pytest.mark.parametrize(("kib", "pj"), [(8, 10), (9, 20), (32, 20), (33, 100), (1024, 100)])
def test_weights_are_in_the_smallest_memory_that_holds_them(kib, pj):
    layer = SynapseGeometry("linear", 1, kib * 1024)  # one potential less a row: in the same memory or a larger one
    model = replace(MODEL, hops=0.0)
    found = model.of_spikes(layer, 0, layer.out_channels, ValueWidths(8, 8))
    assert found.pj == pytest.approx(3 * kib * 1024 / 8 * pj)


def test_what_no_sram_holds_comes_from_dram_once_or_in_every_step():
    layer, widths = SynapseGeometry("linear", 1024, 1025), ValueWidths(8, 8)
    weights = 1024 * 1025 / 8 * 1300
    assert FREE.of_spikes(layer, 7, 7 * 1025, widths).pj == pytest.approx(weights)
    assert FREE.of_dense(layer, 4 * 1024 * 1025, 4, widths).pj == pytest.approx(weights)
    neurons = FREE.of_neurons(2**20 + 8, 4 * (2**20 + 8), 0, widths, leaky=True).pj
    assert neurons == pytest.approx(4 * 2 * (2**20 + 8) / 8 * 1300)
    wide = SynapseGeometry("conv", 1, 1, (1, 1), (1, 1), (1, 1), 1, (1025, 1024), (1025, 1024))
    assert FREE.of_dense(wide, 0, 3, widths).pj == pytest.approx(3 * 1025 * 1024 / 8 * 1300)


@given(st.integers(1, 10**5), st.integers(1, 8), st.booleans())
def test_neurons_read_and_write_their_potentials_in_every_update(count, steps, leaky):
    found = one_price(1.0).of_neurons(count, steps * count, 5, ValueWidths(8, 8), leaky=leaky)
    assert found.pj == pytest.approx(2 * steps * count / 8)
    assert (found.acs, found.macs) == (steps * count + 5, steps * count if leaky else 0)


def network(rate):
    """A layer on analog values, neurons, and a layer on their spikes, at some firing rate; T = 4."""
    first = SynapseGeometry("conv", 3, 32, (3, 3), (1, 1), (1, 1), 1, (16, 16), (14, 14))
    second = SynapseGeometry("linear", first.output_positions, 512)
    neurons, steps = first.output_positions, 4
    spikes = rate * neurons * steps
    updates = neurons * steps
    rows = (
        LayerRow("a", "synapse", steps=1, macs=27 * neurons, dense_macs=27 * neurons, geometry=first),
        LayerRow(
            "n", "neuron", neurons=neurons, steps=steps, spikes=spikes, updates_active=spikes, updates_idle=updates - spikes
        ),
        LayerRow(
            "b",
            "synapse",
            steps=steps,
            sops=512 * spikes,
            dense_macs=512 * updates,
            inputs=InputKinds(updates - spikes, spikes),
            geometry=second,
        ),
    )
    return Report("m", 1, steps, rows, {}, (load("cmos45-int8+hierarchy"), load("cmos45-int8")))


def test_at_the_rate_of_break_even_the_network_costs_what_its_twin_does():
    judged = verdicts(network(0.3))[0]
    for rate, twin in ((judged.break_even_rate_in_all, "dense_uj"), (judged.quantised_rate_in_all, "quantised_uj")):
        assert 0 < rate < 1
        there = verdicts(network(rate))[0]
        assert there.model_uj == pytest.approx(getattr(there, twin))


def test_with_memory_and_network_a_spiking_network_may_fire_less_than_in_arithmetic_alone():
    memory, arithmetic = verdicts(network(0.3))
    assert memory.break_even_rate_in_all < 0.2 * arithmetic.break_even_rate
    assert memory.quantised_rate_in_all < memory.break_even_rate_in_all


def test_a_report_with_the_hierarchy_is_written_and_read_back(model, digits, tmp_path):
    found = account(model, [digits], profiles=("cmos45-fp32+hierarchy",))
    assert found.energy("cmos45-fp32+hierarchy").total_uj > found.energy("cmos45-fp32+hierarchy").layers[0].macs * 1e-6
    paths = found.save(tmp_path)
    again = read_report(paths["json"])
    assert again.profiles == found.profiles
    assert again.energy("cmos45-fp32+hierarchy") == found.energy("cmos45-fp32+hierarchy")
    for ending in ("html", "md", "tex"):
        assert "hierarchy" in paths[ending].read_text("utf-8")
