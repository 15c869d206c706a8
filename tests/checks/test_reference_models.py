"""The checks on other counters and public models: what they refuse, and what their page and their comparison say."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from torch import nn

from checks import other_counters, reference_models
from checks.reference_models import Check, Outcome, padded_macs
from checks.references.models import MODELS, vgg16
from checks.references.page import page
from neurodeploy_energy import LayerRow, Report
from neurodeploy_energy.count.layer import SynapseGeometry
from neurodeploy_energy.price.reconciliation import Ledger


def outcome(**changes):
    check = Check("padded macs", 10.0, 12.0, "a paper", False)
    ledgers = (Ledger("syops 0.0.5", 12.0, 3.0, ()), Ledger("fvcore 0.1.5", None, None, (), unknown=("no",)))
    made = Outcome(
        "Net", "owner/net", "0" * 40, "random", 7, (3, 8, 8), 4, 5.0, 12.0, 30.0, 40.0, 0.1, ("a",), (), ledgers, (check,)
    )
    return json.loads(json.dumps(asdict(made) | changes))


def test_the_page_says_which_values_are_not_reached_and_which_models_are_missing():
    text = page([outcome()], {"Lost": "its code is gone"})
    assert "| Net | padded macs | 10 | 12 | a paper | **not reached** |" in text
    assert "- Lost: its code is gone" in text
    assert "| Net | 5 | 12 | unknown |" in text
    assert "(30)" in text  # of random weights
    assert "<!--" not in text


def test_the_page_that_is_published_has_every_model_or_says_why_not():
    text = Path("docs/reference-models.md").read_text("utf-8")
    assert all(reference.name in text for reference in MODELS)
    assert "not reached" not in text


def test_the_code_of_others_is_not_put_into_this_repository(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reference_models", "--sources", "runs/references"])
    assert reference_models.main() == 2
    assert "inside this repository" in capsys.readouterr().err


def test_a_model_that_is_not_known_is_refused_with_those_that_are(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["reference_models", "--sources", str(tmp_path), "--only", "Abacus"])
    assert reference_models.main() == 2
    assert "SEW-ResNet18" in capsys.readouterr().err


def test_vgg_16_has_the_weights_of_its_table():
    model = vgg16(Path())
    assert sum(isinstance(one, nn.Conv2d) for one in model) == 13
    assert sum(weight.numel() for weight in model.parameters()) == 14_719_818


def test_padding_and_every_step_count_for_layers_before_the_first_neurons_alone():
    conv = SynapseGeometry("conv", 1, 2, (3, 3), (1, 1), (1, 1), 1, (4, 4), (4, 4))
    rows = (
        LayerRow("a", "synapse", steps=1, macs=200, dense_macs=200, geometry=conv),
        LayerRow("n", "neuron", neurons=32, steps=4),
        LayerRow("head", "synapse", steps=1, macs=64, dense_macs=64, geometry=SynapseGeometry("linear", 32, 2)),
    )
    assert padded_macs(Report("m", 1, 4, rows, {}, ())) == 4 * 18 * 16 + 64


@pytest.mark.parametrize(("now", "differing"), [(1.0 + 1e-8, 0), (1.1, 1), (None, 1)])
def test_counts_that_a_tool_changed_are_named_and_roundings_are_not(now, differing):
    found = list(other_counters._differences("", {"tool": {"total": [1.0]}}, {"tool": {"total": [now]}}))
    assert len(found) == differing
    assert all(line.startswith("tool/total/0: 1.0 recorded") for line in found)
