"""What other tools would count: every ledger ends where a recorded run of the tool did, and adds up to it line by line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.counters.networks import STEPS, cases
from neurodeploy_energy import LayerRow, Report, account, register_neuron
from neurodeploy_energy.count.layer import GRADED, InputKinds, SynapseGeometry
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.price.reconciliation import PADDING, SUMS, reconcile
from neurodeploy_energy.report.reconciling import counters

RECORDED = json.loads((Path(__file__).parents[2] / "files" / "energy" / "other_tools.json").read_text("utf-8"))
CASES = cases()
NAMES = {
    "NeuroBench": "NeuroBench 2.3, effective",
    "syops": "syops 0.0.5",
    "SpikingJelly simple": "SpikingJelly 2.0, simple",
    "SpikingJelly Lemaire": "SpikingJelly 2.0, Lemaire",
    "SpikingJelly NeuroMC": "SpikingJelly 2.0, NeuroMC",
    "fvcore": "fvcore 0.1.5",
}
NOT_IN_A_REPORT = ("norm1", "norm2", "maximum")
OTHER_ADDITIONS = ("fire1", "fire2", "fire3", "average")
"""Of SpikingJelly's simple model: the neurons' own additions, and a pool's."""


@pytest.fixture(scope="module")
def reports():
    register_neuron("checks.counters.networks.Fire", axes="step")
    run = {name: account(case.network(), case.inputs, steps=STEPS, time_axis=0, batch_axis=1) for name, case in CASES.items()}
    assert not any(report.uncounted for report in run.values())
    return run


def ledger_of(report, tool):
    # a class that is registered is taken to leak; the one that the tools saw does not
    rows = [row if row.geometry is None else replace(row, geometry=replace(row.geometry, leaky=False)) for row in report.layers]
    return next(one for one in reconcile(rows, report.steps) if one.tool == NAMES[tool])


def recorded(tool, name):
    """What the tool counted of layers that a report knows, per sample; None where it refused the network."""
    found = RECORDED[tool]["networks"][name]
    if "refused" in found:
        return None
    left_out = NOT_IN_A_REPORT + (OTHER_ADDITIONS if tool == "SpikingJelly simple" else ())
    if tool == "SpikingJelly simple":
        known = [counts for layer, counts in found["layers"].items() if layer.startswith(("conv", "classifier"))]
        return tuple(sum(counts[at] for counts in known) for at in (0, 1))
    elsewhere = [found["layers"][layer] for layer in left_out if layer in found.get("layers", {})]
    return tuple(total - sum(counts[at] for counts in elsewhere) for at, total in enumerate(found["total"]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tool", NAMES)
def test_a_ledger_ends_with_what_the_tool_itself_counted(reports, tool, name):
    ledger, theirs = ledger_of(reports[name], tool), recorded(tool, name)
    if theirs is None:
        assert (ledger.macs, ledger.acs) == (None, None)
        assert "refused" in ledger.unknown[0]
        return
    # the tools' networks compute their first layer in every step
    assert ledger.macs + ledger.repeated == pytest.approx(theirs[0], rel=1e-6, abs=1e-9)
    assert ledger.acs == pytest.approx(theirs[1], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_the_lines_of_a_ledger_add_up_to_what_the_tool_counts(reports, name):
    total = reports[name].total
    for ledger in reconcile(reports[name].layers, STEPS):
        if not ledger.unknown:
            macs, acs = (sum(getattr(one, field) for one in ledger.differences) for field in ("macs", "acs"))
            assert total.macs + macs == pytest.approx(ledger.macs)
            assert total.sops + total.adds + total.analog_adds + acs == pytest.approx(ledger.acs, abs=1e-6)


def test_sums_of_spikes_are_multiplied_by_all_tools_that_look_at_values(reports):
    for ledger in reconcile(reports["sums"].layers, STEPS):
        reasons = {one.reason for one in ledger.differences}
        assert (SUMS in reasons) == (not ledger.tool.startswith("fvcore"))


def test_what_is_the_same_in_every_step_is_beside_the_sum(reports):
    first = reports["images"].layer("conv1")
    by_tool = {one.tool: one for one in reconcile(reports["images"].layers, STEPS)}
    assert by_tool["NeuroBench 2.3, effective"].repeated == pytest.approx(3 * first.effective_macs)
    assert by_tool["fvcore 0.1.5"].repeated == 3 * 4 * 3 * 9 * 64


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 50))
def test_a_dense_layer_differs_from_most_tools_by_its_padding_alone(groups, size, macs):
    geometry = SynapseGeometry("conv", 2 * groups, 3 * groups, (3, 3), (1, 1), (1, 1), groups, (size, size), (size, size))
    row = LayerRow("c", "synapse", steps=1, macs=macs, dense_macs=macs, effective_macs=macs / 2, geometry=geometry)
    padded = 2 * 3 * groups * 9 * size**2
    for ledger in reconcile([row], 1):
        if ledger.tool in ("SpikingJelly 2.0, simple", "SpikingJelly 2.0, Lemaire", "syops 0.0.5", "fvcore 0.1.5"):
            assert ledger.macs == padded
            assert {one.reason for one in ledger.differences} <= {PADDING}
        if "NeuroMC" in ledger.tool:
            assert ledger.macs == groups * padded
        if "NeuroBench" in ledger.tool:
            assert ledger.macs == macs / 2


def test_what_cannot_be_worked_out_is_said_and_has_no_number():
    mixed = LayerRow("mixed", "synapse", steps=1, sops=5, macs=5, dense_macs=10, geometry=SynapseGeometry("linear", 5, 2))
    for ledger in reconcile([mixed], 1):
        assert (ledger.macs, ledger.acs) == (None, None)
        assert "mixed" in ledger.unknown[0]
    table = counters(Report("m", 1, 1, (mixed,), {}, (load("loihi1"),)))
    assert {row[2].text for row in table.rows if row[1].text == "" and row[0].text != "this report"} == {"unknown"}
    recurrent = LayerRow("rnn", "recurrent", steps=1, macs=5, dense_macs=10)
    unknown = {one.tool.split(",")[0] for one in reconcile([recurrent], 1) if one.unknown}
    assert unknown == {"syops 0.0.5", "SpikingJelly 2.0", "fvcore 0.1.5"}


def test_one_reason_of_many_layers_is_one_line():
    geometry = SynapseGeometry("linear", 5, 2)
    mixed = [LayerRow(f"a: {n}", "synapse", steps=1, sops=5, macs=5, dense_macs=10, geometry=geometry) for n in range(3)]
    table = counters(Report("m", 1, 1, tuple(mixed), {}, (load("loihi1"),)))
    why = [row[1].text for row in table.rows if row[0].text == "syops 0.0.5" and row[1].text]
    assert why == ["cannot be worked out: a: 0 and 2 others: it reads spikes and analog values, and tools decide call by call"]


def test_what_is_no_module_is_not_seen_by_tools_that_hook_modules():
    row = LayerRow("block: linear", "synapse", steps=1, sops=6, dense_macs=10, geometry=SynapseGeometry("linear", 5, 2))
    row = replace(row, inputs=InputKinds(spikes=3), sops_nonzero_weights=6, rate=0.6)
    by_tool = {one.tool: one for one in reconcile([row], 1)}
    assert by_tool["NeuroBench 2.3, effective"].acs == by_tool["syops 0.0.5"].acs == 0
    assert by_tool["SpikingJelly 2.0, simple"].acs == 6


def test_none_of_them_knows_graded_messages():
    row = LayerRow("g", GRADED, steps=1, sops=5)
    assert reconcile([row], 1) == ()
    assert counters(Report("m", 1, 1, (row,), {}, (load("cmos45-fp32"),))) is None
