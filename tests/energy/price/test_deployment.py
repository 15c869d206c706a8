"""Spikes on a chip, encoder and head as dense work on a host; static power apart from both."""

from dataclasses import replace

import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_energy import LayerRow, Report
from neurodeploy_energy.price.deployment import deployment
from neurodeploy_energy.price.profiles import load, parse
from neurodeploy_energy.report import as_markdown, further_tables

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


def test_each_part_is_costed_where_it_runs_and_nothing_is_added_up():
    found = deployment(report_of(), load("loihi1"), load("cmos45-fp32"))
    assert found.chip_uj == pytest.approx(1e-6 * (23.6 * 500 + 81 * 8 + 52 * 12 + 1.7 * 3))
    assert (found.encoder_macs, found.head_macs) == (900 + 100, 200)
    assert (found.encoder_uj, found.head_uj) == (pytest.approx(4.6e-3), pytest.approx(4.6e-6 * 200))
    assert found.host_uj == pytest.approx(4.6e-6 * 1200)
    assert found.left_out == ()
    assert found.static_uj is None


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
    assert report.energy("chip").total_uj == pytest.approx(2e-6 * 530)
    assert deployment(report, chip, load("cmos45-fp32")).static_uj == pytest.approx(0.6)
    assert "Static energy under chip, not in its total: 0.6 µJ per sample" in as_markdown(report, title="t")


def test_without_parts_nothing_is_said_of_a_deployment():
    assert deployment(report_of(places={}), load("loihi1"), load("cmos45-fp32")) is None
    assert len(further_tables(report_of(places={}))) == 1
    assert len(further_tables(report_of())) == 2


def test_a_host_that_cannot_multiply_is_refused():
    with pytest.raises(UserError, match=r"profile loihi1: a host computes densely, and it gives no cost_pj\.mac"):
        deployment(report_of(), load("loihi1"), load("loihi1"))
