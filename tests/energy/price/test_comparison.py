"""A model against a baseline, and against the dense network that it stands for."""

from dataclasses import replace

import pytest
from torch import nn

from neurodeploy_energy import LayerRow, Report, account, compare
from neurodeploy_energy.price.account import verdicts
from neurodeploy_energy.price.profiles import load

PROFILES = ("cmos45-fp32", "loihi1")


def report_of(name, *rows, steps=4, profiles=PROFILES):
    return Report(name, 10, steps, rows, {}, tuple(load(p) for p in profiles))


def test_layers_are_paired_by_name_and_those_of_the_baseline_alone_come_last():
    ours = report_of("m", LayerRow("a", "synapse", steps=1), LayerRow("c", "neuron"))
    theirs = report_of("b", LayerRow("b", "neuron"), LayerRow("a", "synapse", steps=1, sops=1))
    pairs = compare(ours, theirs).layers
    assert [(p.name, p.model is not None, p.baseline is not None) for p in pairs] == [
        ("a", True, True),
        ("c", True, False),
        ("b", False, True),
    ]
    assert pairs[0].baseline.sops == 1


def test_changes_are_in_percent_of_the_baseline_under_every_profile_of_the_model():
    ours = report_of("m", LayerRow("a", "synapse", steps=1, sops=30))
    theirs = report_of("b", LayerRow("a", "synapse", steps=1, sops=40), profiles=("cmos45-int8",))
    comparison = compare(ours, theirs)
    assert [pair.profile.name for pair in comparison.energies] == list(PROFILES)
    assert [pair.change_percent for pair in comparison.energies] == [pytest.approx(-25)] * 2
    assert comparison.energies[1].baseline == pytest.approx(23.6 * 40e-6)


def test_against_a_silent_baseline_there_is_no_change_in_percent():
    ours = report_of("m", LayerRow("a", "synapse", steps=1, sops=30))
    assert compare(ours, report_of("b", LayerRow("a", "synapse", steps=1))).energies[0].change_percent is None


def test_the_dense_twin_evaluates_every_synapse_layer_once(model, digits):
    report = account(model, [digits])
    once = 3 * 22 * 22 + 4 * 3 * 11 * 11 + 3 * 16  # taps that meet the padding are none
    found = {v.profile.name: v for v in verdicts(report)}
    assert found["cmos45-fp32"].dense_uj == pytest.approx(4.6e-6 * once)
    on_the_host = account(model, [digits], profiles=["cmos45-fp32+lemaire"])
    assert found["loihi1"].dense_uj == verdicts(on_the_host)[0].dense_uj


def test_without_a_host_a_chip_has_no_dense_twin(model, digits):
    report = replace(account(model, [digits], profiles=["loihi1"]), host=None)
    assert verdicts(report)[0].dense_uj is None
    assert report.energy("loihi1").total_uj is None


def test_the_break_even_rate_is_the_cost_of_a_mac_over_that_of_the_steps():
    pairs = compare(
        report_of("m", LayerRow("a", "synapse", steps=1)), report_of("b", LayerRow("a", "synapse", steps=1))
    ).energies
    assert pairs[0].break_even_rate == pytest.approx(4.6 / (4 * 0.9))
    assert pairs[1].break_even_rate is None


def test_at_the_break_even_rate_model_and_twin_cost_the_same():
    dense, rate = 1000.0, 4.6 / (4 * 0.9)
    ours = report_of("m", LayerRow("a", "synapse", steps=4, sops=4 * rate * dense, dense_macs=4 * dense))
    (pair, _) = compare(ours, ours).energies
    assert pair.model == pytest.approx(pair.twin)


def test_a_report_carries_its_comparison(report):
    assert report.comparison.baseline.name == "eager"
    assert report.total.spikes < report.comparison.baseline.total.spikes
    assert all(pair.change_percent < 0 for pair in report.comparison.energies)


def test_the_total_adds_the_layers_and_its_rate_is_over_all_neurons(report):
    total = report.total
    assert total.sops == sum(row.sops for row in report.layers)
    neurons = [row for row in report.layers if row.kind == "neuron"]
    assert total.rate == pytest.approx(sum(r.spikes for r in neurons) / sum(r.neurons * 4 for r in neurons))
    assert total.steps == 4


def test_a_network_without_spikes_has_a_total_without_a_rate(digits):
    assert account(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), [digits]).total.rate == 0
