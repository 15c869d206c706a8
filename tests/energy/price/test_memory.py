"""Lemaire's memory model: the accesses are the paper's formulas, and the energy of one is its line through three memories."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report, account
from neurodeploy_energy.count.layer import InputKinds, SynapseGeometry
from neurodeploy_energy.price.memory import ValueWidths, dense_accesses, neuron_accesses, spike_accesses, traffic_of
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.price.profiles import load_memory_model as load_model

SIZES = st.integers(1, 7)


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    kernel, output = (draw(st.tuples(SIZES, SIZES)) for _ in range(2))
    channels = (groups * draw(SIZES), groups * draw(SIZES))
    return SynapseGeometry("conv", *channels, kernel, (1, 1), (1, 1), groups, (9, 9), output)


@given(convolutions(), st.integers(0, 500), st.integers(0, 500), st.integers(1, 8), st.booleans())
def test_a_layer_and_its_neurons_have_the_accesses_of_the_papers_formulas(layer, spikes_in, spikes_out, steps, leaky):
    each = spikes_in * layer.out_channels // layer.groups * prod(layer.kernel)
    updates = steps * layer.output_positions
    synapses, body = spike_accesses(layer, spikes_in), neuron_accesses(layer.output_positions, updates, spikes_out, leaky=leaky)
    assert synapses.inputs == spikes_in
    assert synapses.weights == each
    assert synapses.potentials + body.potentials == 2 * (each + updates)
    assert body.outputs == spikes_out
    assert (synapses.address_macs, synapses.address_acs) == (2 * spikes_in, each)
    assert (body.acs, body.macs) == (updates + spikes_out, updates if leaky else 0)


@given(convolutions())
def test_a_dense_layer_reads_an_input_and_a_weight_per_multiplication_and_writes_each_output(layer):
    macs = layer.weights * prod(layer.output)
    found = dense_accesses(layer, macs, 1)
    assert (found.inputs, found.weights) == (macs, macs)
    assert (found.potentials, found.outputs) == (layer.output_positions, layer.output_positions)
    assert found.address_macs == found.acs == found.macs == 0


@pytest.mark.parametrize(("kib", "published"), [(8, 10), (32, 20), (1024, 100)])
def test_the_energy_of_an_access_follows_the_published_memories(kib, published):
    assert load_model("lemaire").access_pj(kib * 1024, 8) == pytest.approx(published, abs=5)


def test_the_size_of_a_memory_is_its_elements_times_their_width():
    model = load_model("lemaire")
    assert model.access_pj(1000, 32) == pytest.approx(1.09e-5 * 32000 + 13.2)
    one = neuron_accesses(10, 10, 0, leaky=False)
    assert one.energy_pj(model, 8) == pytest.approx(20 * model.access_pj(10, 8))
    narrow = spike_accesses(SynapseGeometry("linear", 4, 3), 5)
    expected = 5 * model.access_pj(4, 3) + 15 * model.access_pj(12, 8) + 30 * model.access_pj(3, 8)
    assert narrow.energy_pj(model, 8, 3) == pytest.approx(expected)


def test_a_layer_with_inputs_of_both_kinds_has_the_traffic_of_both():
    geometry, memory, widths = SynapseGeometry("linear", 4, 3), load_model("lemaire"), ValueWidths(8, 8)
    row = LayerRow("l", "synapse", steps=2, sops=6, macs=12, inputs=InputKinds(spikes=2, analog=4), geometry=geometry)
    events, values = traffic_of(row, memory, widths, leaky=True)
    assert events == memory.of_spikes(geometry, 2, 6, widths)
    assert values == memory.of_dense(geometry, 12, 2, widths)
    assert traffic_of(LayerRow("p", "average pool", adds=3), memory, widths, leaky=True) == ()


def test_a_profile_with_memory_adds_accesses_addresses_and_updates_to_the_arithmetic():
    geometry = SynapseGeometry("linear", 4, 3, leaky=False)
    rows = (
        LayerRow("fc", "synapse", steps=2, sops=6, dense_macs=24, inputs=InputKinds(spikes=2), geometry=geometry, drives="n"),
        LayerRow("n", "neuron", neurons=3, steps=2, spikes=1, updates_active=4, updates_idle=2),
    )
    costs = load("cmos45-int8+lemaire")
    energy = Report("m", 1, 2, rows, {}, (costs,)).energy(costs.name)
    fc, n = energy.layers
    assert fc.synaptic_operations == pytest.approx(6 * 0.03)
    assert fc.addresses == pytest.approx(4 * 0.23 + 6 * 0.03)
    assert fc.memory == pytest.approx(spike_accesses(geometry, 2).energy_pj(costs.memory, 8))
    assert n.neuron_updates == pytest.approx((6 + 1) * 0.03)  # no leak: no multiplication
    assert n.memory == pytest.approx(neuron_accesses(3, 6, 1, leaky=False).energy_pj(costs.memory, 8))
    assert energy.left_out == ("1 spikes sent",)


def test_a_layer_whose_shape_is_not_known_is_named_as_left_out():
    row = LayerRow("attention", "matmul", steps=1, sops=5, dense_macs=10)
    report = Report("m", 1, 1, (row,), {}, (load("cmos45-int8+lemaire"),))
    assert report.energy("cmos45-int8+lemaire").left_out == ("memory accesses of attention, whose shape is not known",)


def test_memory_turns_the_verdict_over_on_a_real_network(model, digits):
    found = account(model, [digits], profiles=("cmos45-int8", "cmos45-int8+lemaire"))
    bare, memory = (found.energy(p.name).total_uj for p in found.profiles)
    assert memory > 10 * bare


def test_memory_is_added_to_arithmetic_alone_and_only_where_widths_are_known(tmp_path):
    with pytest.raises(UserError, match=r"loihi1: its scope is the core, memory included; \+lemaire would add it twice"):
        load("loihi1+lemaire")
    path = tmp_path / "mine.toml"
    path.write_text('title="t"\nsource="s"\nyear=2020\nscope="operation"\nbasis="measured"\n[cost_pj]\nmac=1\nac=1\n')
    with pytest.raises(UserError, match=r"mine: \+lemaire needs its bits, cost_pj.mac and cost_pj.ac; add them to the file"):
        load(f"{path}+lemaire")
    path.write_text("bits = 8\n" + path.read_text())
    assert load(f"{path}+lemaire").name == "mine+lemaire"
    with pytest.raises(UserError, match="not known"):
        load("cmos45-int8+abacus")
