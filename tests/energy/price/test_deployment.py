"""Spikes on a chip, encoder and head as dense work on a host; static power apart from both."""

import re
from dataclasses import replace

import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report, compare
from neurodeploy_energy.count.layer import InputKinds, SynapseGeometry
from neurodeploy_energy.price.deployment import deployment
from neurodeploy_energy.price.memory import dense_accesses, spike_accesses
from neurodeploy_energy.price.placement import ReadoutNeurons
from neurodeploy_energy.price.profiles import load, parse
from neurodeploy_energy.report import as_markdown
from neurodeploy_energy.report.tables import deployed_line, deployments

ROWS = (
    LayerRow("conv1", "synapse", steps=1, macs=900, dense_macs=900),
    LayerRow("act1", "neuron", neurons=25, steps=4, spikes=10, updates_active=60, updates_idle=40),
    LayerRow("conv2", "synapse", steps=4, sops=500, dense_macs=8000),
    LayerRow("act2", "neuron", neurons=5, steps=4, spikes=3, updates_active=8, updates_idle=12),
    LayerRow("classifier", "synapse", steps=4, sops=30, dense_macs=200),
)
PLACES = {"conv1": "encoder", "act1": "encoder", "act2": "body", "classifier": "head"}
STATIC = """
title = "t"
source = "s"
year = 2020
scope = "core"
basis = "measured"
[cost_pj]
ac = 2
[static]
power_mw = 3
step_us = 50
"""


def report_of(**changes):
    own = {"places": PLACES, "host": load("cmos45-fp32"), **changes}
    return replace(Report("m", 10, 4, ROWS, {}, (load("loihi1"),)), **own)


def test_each_part_is_costed_where_it_runs_and_both_are_added_up():
    found = deployment(report_of(), load("loihi1"), load("cmos45-fp32"))
    assert found.chip_uj == pytest.approx(1e-6 * (23.6 * 500 + 81 * 8 + 52 * 12 + 1.7 * 3))
    assert (found.encoder_macs, found.head_macs) == (900 + 100, 200)
    assert (found.encoder_uj, found.head_uj) == (pytest.approx(4.6e-3), pytest.approx(4.6e-6 * 200))
    assert found.host_uj == pytest.approx(4.6e-6 * 1200)
    assert found.total_uj == pytest.approx(found.chip_uj + found.host_uj)
    assert found.left_out == ()
    assert found.static_uj is None
    assert report_of().energy("loihi1").total_uj == pytest.approx(found.total_uj)


def test_a_dense_head_weighs_what_an_activation_without_spikes_costs_the_host():
    """RepAct moves a layer to the host: its energy there rises, while that on the chip falls."""
    moved = report_of(places={**PLACES, "conv2": "head", "act2": "head"})
    before, after = (deployment(one, load("loihi1"), load("cmos45-fp32")) for one in (report_of(), moved))
    assert after.chip_uj == 0
    assert after.head_macs - before.head_macs == 8000 + 20
    assert after.head_uj > 40 * before.head_uj


def test_static_energy_is_power_times_the_duration_of_the_steps_and_stays_out_of_the_total():
    chip = parse(STATIC, name="chip", origin="test")
    report = report_of(profiles=(chip,))
    assert report.energy("chip").static_uj == pytest.approx(3e-3 * 4 * 50e-6 * 1e6)
    assert report.energy("chip").chip_uj == pytest.approx(2e-6 * 500)
    assert report.energy("chip").total_uj == pytest.approx(2e-6 * 500 + 4.6e-6 * 1200)
    assert deployment(report, chip, load("cmos45-fp32")).static_uj == pytest.approx(0.6)
    assert "Static energy under chip, not in its total: 0.6 µJ per sample" in as_markdown(report, title="t")


def test_without_parts_the_host_does_what_is_on_analog_values_and_the_chip_the_rest():
    found = deployment(report_of(places={}), load("loihi1"), load("cmos45-fp32"))
    assert (found.encoder_macs, found.head_macs) == (900, 0)
    assert found.host_uj == pytest.approx(4.6e-6 * 900)
    assert found.chip_uj == pytest.approx(1e-6 * (23.6 * 530 + 81 * 68 + 52 * 52 + 1.7 * 13))
    assert deployment(report_of(places={}), load("cmos45-fp32"), load("cmos45-fp32")) is None


def test_a_network_without_spikes_is_all_on_the_host():
    relu = Report("ann", 10, 1, (LayerRow("fc", "synapse", steps=1, macs=500, dense_macs=500),), {}, (load("loihi1"),))
    assert relu.energy("loihi1").total_uj is None  # nobody prices its multiplications
    assert relu.energy("loihi1").lacking == ("500 multiply-accumulates on analog values, which run on a host",)
    hosted = replace(relu, host=load("cmos45-fp32"))
    assert hosted.energy("loihi1").total_uj == pytest.approx(4.6e-6 * 500)
    assert "all on the host" in deployed_line(hosted)


def test_what_has_no_price_has_no_number_and_no_change_in_percent():
    relu = Report("ann", 10, 1, (LayerRow("fc", "synapse", steps=1, macs=500, dense_macs=500),), {}, (load("loihi1"),))
    compared = replace(report_of(host=None), comparison=compare(report_of(host=None), relu))
    (pair,) = compared.comparison.energies
    assert (pair.model, pair.baseline, pair.change_percent) == (None, None, None)
    assert "0 µJ" not in str(compared)
    assert "100.0 %" not in as_markdown(compared, title="t").partition("## Conventions")[0]


def test_a_deployment_on_a_processor_has_no_chip():
    found = deployment(report_of(host_alone=True), load("loihi1"), load("cmos45-fp32"))
    assert (found.chip_uj, found.encoder_uj) == (0, 0)
    assert found.total_uj == pytest.approx(4.6e-6 * (900 + 100 + 8000 + 20 + 200))


def test_read_out_neurons_are_updated_on_the_chip_and_their_values_are_sent():
    with_neurons = replace(report_of(), readout=ReadoutNeurons(updates_active=30, updates_idle=10, graded_values=5))
    before, after = (deployment(one, load("loihi1"), load("cmos45-fp32")) for one in (report_of(), with_neurons))
    assert after.chip_uj - before.chip_uj == pytest.approx(1e-6 * (81 * 30 + 52 * 10 + 1.7 * 5))
    assert after.graded_values == 5


def test_with_memory_a_host_reads_and_writes_what_it_computes():
    geometry = SynapseGeometry("linear", 10, 20)
    rows = (replace(ROWS[0], geometry=geometry), *ROWS[1:4], replace(ROWS[4], geometry=geometry))
    host = load("cmos45-fp32+lemaire")
    found = deployment(replace(report_of(host=host), layers=rows), load("loihi1"), host)
    dense = 4.6 * 200 + dense_accesses(geometry, 200, 4).energy_pj(host.memory, 32)
    assert found.head_uj == pytest.approx(1e-6 * dense)
    unknown = deployment(report_of(host=host), load("loihi1"), host)
    assert unknown.total_uj is None
    assert unknown.left_out == ("memory accesses of conv1, classifier on the host, whose shape is not known",)


def test_a_host_that_computed_only_what_spikes_reach_is_a_line_of_its_own():
    moved = report_of(places={**PLACES, "conv2": "head", "act2": "head"})
    found = deployment(moved, load("loihi1"), load("cmos45-fp32"))
    saved = 4.6 * (8000 + 200) - 0.9 * (500 + 30)
    assert found.total_uj - found.event_driven_uj == pytest.approx(1e-6 * saved)
    assert any("were the host event-driven" in row[0].text for row in deployments(moved).rows)
    geometry = SynapseGeometry("linear", 10, 20)
    driven = replace(ROWS[4], geometry=geometry, inputs=InputKinds(spikes=1.5))
    host = load("cmos45-fp32+lemaire")
    alone = replace(report_of(host=host, places={"classifier": "head"}), layers=(driven,))
    accesses = spike_accesses(geometry, 1.5)
    events = 0.9 * 30 + accesses.energy_pj(host.memory, 32) + 4.6 * accesses.address_macs + 0.9 * accesses.address_acs
    assert deployment(alone, load("loihi1"), host).event_driven_uj == pytest.approx(1e-6 * events)


def test_the_headline_names_both_profiles_the_shares_the_cut_and_the_accuracy():
    ours = replace(report_of(), answers=(9, 10), cut="last-spike")
    line = deployed_line(replace(ours, comparison=compare(ours, replace(report_of(), name="b", answers=(8, 10)))))
    assert re.fullmatch(
        r"As deployed \(loihi1, host cmos45-fp32\), µJ per sample: m (\S+) \(chip \S+, host \S+, cut at the last-spike\), "
        r"90\.00 % accuracy; b \1 \(chip \S+, host \S+\), 80\.00 % accuracy: \+0\.0 %\.",
        line,
    )
    table = deployments(replace(ours, comparison=None))
    assert table.rows[0][0].text == "chip and host together"
    assert table.rows[-1][-1].text == "90.00"


def test_a_host_that_cannot_multiply_is_refused():
    with pytest.raises(UserError, match=r"profile loihi1: a host computes densely, and it gives no cost_pj\.mac"):
        deployment(report_of(), load("loihi1"), load("loihi1"))
