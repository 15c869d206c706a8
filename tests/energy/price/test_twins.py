"""The networks without spikes that a spiking one has to beat, and where the verdict depends on the cost table."""

import json
from dataclasses import replace
from math import ceil, log2

import pytest
import torch
from torch import nn

from neurodeploy_energy import LayerRow, Report, account
from neurodeploy_energy.count.layer import InputKinds, SynapseGeometry
from neurodeploy_energy.price.account import compare, verdicts, with_twin
from neurodeploy_energy.price.estimate import activation_bits, flips
from neurodeploy_energy.price.memory import dense_accesses
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import as_json, as_page, further_tables

LAYER = SynapseGeometry("linear", 50, 20)


def report_of(sops, *profiles, steps=4):
    row = LayerRow("a", "synapse", steps=steps, sops=sops, dense_macs=1000.0 * steps, geometry=LAYER)
    row = replace(row, inputs=InputKinds(spikes=sops / 20))
    return Report("m", 10, steps, (row,), {}, tuple(load(p) for p in profiles))


@pytest.mark.parametrize("steps", range(1, 70))
def test_as_many_bits_as_tell_the_spike_counts_apart(steps):
    assert activation_bits(steps) == ceil(log2(steps + 1))


def test_the_quantised_twin_multiplies_by_a_share_of_an_integer_multiplication():
    found = {v.profile.name: v for v in verdicts(report_of(2000, "cmos45-int8", "cmos45-int32", "cmos45-fp32", "odin"))}
    assert found["cmos45-int8"].quantised_uj == pytest.approx(1000 * (0.2 * 3 / 8 + 0.03) * 1e-6)
    assert found["cmos45-int32"].quantised_uj == pytest.approx(1000 * (3.1 * 3 / 32 + 0.1) * 1e-6)
    assert found["cmos45-fp32"].quantised_uj is None
    assert (found["odin"].dense_uj, found["odin"].quantised_uj, found["odin"].dense_factor) == (None, None, None)
    assert found["cmos45-int8"].quantised_factor == pytest.approx(2000 * 0.03 / (1000 * 0.105))


def test_with_many_steps_the_quantised_twin_is_no_wider_than_the_profile():
    (found,) = verdicts(report_of(1, "cmos45-int8", steps=1000))
    assert found.bits == 10
    assert found.quantised_uj == pytest.approx(found.dense_uj)


def test_a_measured_twin_is_judged_with_its_own_layers_and_zeros():
    relu = LayerRow("fc", "synapse", steps=1, macs=500, dense_macs=500, effective_macs=200)
    twin = Report("teacher", 10, 0, (relu,), {}, (load("cmos45-fp32"),))
    (found,) = verdicts(with_twin(report_of(100, "cmos45-fp32"), twin))
    assert found.sparsity == pytest.approx(0.6)
    assert found.dense_uj == pytest.approx(200 * 4.6e-6)
    assert found.break_even_rate == pytest.approx(4.6 * 0.4 / (4 * 0.9))


def test_a_comparison_is_judged_anew_with_a_measured_twin(model, digits):
    relu = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 3))
    twin, baseline = account(relu, [digits], name="teacher"), account(model, [digits], name="b")
    judged = with_twin(account(model, [digits], name="m", baseline=baseline), twin)
    assert judged.comparison.energies[0].twin == verdicts(judged)[0].dense_uj
    assert 0 < verdicts(judged)[0].sparsity < 1
    assert verdicts(judged)[1].dense_uj == pytest.approx(4.6e-6 * twin.total.effective_macs)


def test_at_the_break_even_rate_model_and_sparse_twin_cost_the_same():
    relu = LayerRow("a", "synapse", steps=1, macs=1000, dense_macs=1000, effective_macs=300)
    twin = Report("teacher", 10, 0, (relu,), {}, (load("cmos45-fp32"),))
    (found,) = verdicts(with_twin(report_of(0, "cmos45-fp32"), twin))
    (there,) = verdicts(with_twin(report_of(4 * found.break_even_rate * 1000, "cmos45-fp32"), twin))
    assert there.dense_factor == pytest.approx(1)


def test_with_memory_the_twin_has_the_accesses_of_one_dense_evaluation():
    (found,) = verdicts(report_of(100, "cmos45-int8+lemaire"))
    costs = found.profile
    expected = 1000 * 0.23 + dense_accesses(LAYER, 1000, 1).energy_pj(costs.memory, 8)
    assert found.dense_uj == pytest.approx(expected * 1e-6)
    narrow = 1000 * 0.105 + dense_accesses(LAYER, 1000, 1).energy_pj(costs.memory, 8, 3)
    assert found.quantised_uj == pytest.approx(narrow * 1e-6)


def test_without_the_shape_of_a_layer_there_is_no_twin_with_memory():
    report = report_of(100, "cmos45-int8+lemaire")
    (found,) = verdicts(replace(report, layers=(replace(report.layers[0], geometry=None),)))
    assert found.dense_uj is None
    assert found.break_even_rate is not None


def test_where_the_verdict_flips_is_said_for_each_twin():
    found = verdicts(report_of(4000, "cmos45-fp32", "cmos45-int8", "cmos45-int8+lemaire", "loihi1"))
    (dense_twin,) = flips(found)
    assert dense_twin == (
        "The verdict against the dense ReLU twin flips: the spiking model costs less under cmos45-fp32, cmos45-int8, "
        "and more under cmos45-int8+lemaire."
    )
    assert flips(verdicts(report_of(1, "cmos45-fp32", "cmos45-int8"))) == []


def test_a_network_without_spikes_is_its_own_twin_and_is_not_judged():
    report = account(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), [torch.rand(3, 1, 8, 8)])
    deployed, _other_tools = further_tables(report)
    assert deployed.title == "estimated energy per sample as deployed, µJ"
    assert json.loads(as_json(report))["verdicts"] == []
    page = as_page(report, title="t", facts={}, notices=()).partition("</style>")[2]
    assert "twin" not in page.partition(">Where the numbers come from</h2>")[0]


def test_break_even_spikes_are_those_with_which_all_that_is_priced_costs_what_the_dense_twin_does():
    for profile in ("cmos45-fp32", "cmos45-int8+lemaire"):
        model = report_of(4000, profile)
        (found,) = verdicts(model)
        (row,) = model.layers
        share = found.spikes_allowed
        fewer = replace(row, sops=share * row.sops, inputs=InputKinds(spikes=share * row.inputs.spikes))
        (there,) = verdicts(replace(model, layers=(fewer,)))
        assert there.dense_factor == pytest.approx(1)
    silent = report_of(0, "cmos45-fp32")
    assert verdicts(silent)[0].spikes_allowed is None


def test_differences_of_layers_are_model_minus_baseline_and_missing_layers_count_nothing():
    ours = report_of(30, "cmos45-fp32")
    theirs = replace(ours, layers=(LayerRow("b", "neuron", spikes=7),))
    first, second = compare(ours, theirs).layers
    assert (first.difference("sops"), second.difference("spikes")) == (30, -7)
