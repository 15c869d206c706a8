"""Every form of ONNX export runs in what is installed here, and the check of other programs sees what differs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from checks import onnx_runtimes
from checks.onnx_runtimes import Outcome, Program, run
from checks.runtimes import further, page, replay
from checks.runtimes.cases import FORMS, write_cases
from checks.runtimes.networks import NETWORKS
from neurodeploy_exporters.onnx import engines

KINDS = {kind.name: kind for kind in (*engines.ENGINES, *further.further(engines.EngineKind))}
HERE = ("ONNX Runtime", "ONNX ReferenceEvaluator")


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """All forms of all networks."""
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, NETWORKS)
    return folder


def copied(cases: Path, name: str, folder: Path) -> Path:
    for ending in ("json", "onnx", "bin"):
        (folder / f"{name}.{ending}").write_bytes((cases / f"{name}.{ending}").read_bytes())
    return folder


@pytest.mark.parametrize("network", [network.name for network in NETWORKS])
@pytest.mark.parametrize("program", HERE)
def test_every_exact_form_fires_every_spike_in_what_reads_it_here(cases, network, program):
    for form in (name for name, form in FORMS.items() if form.exact):
        found = replay.tried(engines, KINDS[program], cases, f"{network}-{form}")
        if program == "ONNX ReferenceEvaluator" and form == "functions":
            continue  # it takes no attributes of functions as they are called here
        assert found.get("wrong") == 0, found
        assert found["compared"] > 0
        assert found["logits_apart"] < 1e-4


def test_forms_that_round_run_too_and_are_compared_with_onnx_runtime(cases):
    for form in ("int8", "int8step", "half"):
        assert replay.tried(engines, KINDS["ONNX Runtime"], cases, f"vgg-{form}")["wrong"] == 0
    assert replay.tried(engines, KINDS["ONNX ReferenceEvaluator"], cases, "vgg-int8")["opens"]


def test_one_other_spike_is_seen(cases, tmp_path):
    folder = copied(cases, "vgg-whole", tmp_path)
    case = json.loads((folder / "vgg-whole.json").read_text())
    values = np.fromfile(folder / "vgg-whole.bin", np.float32)
    place = case["tensors"][f"spikes/{case['layers'][1]}"]["offset"]
    values[place] = 1 - values[place]
    values.tofile(folder / "vgg-whole.bin")
    assert replay.tried(engines, KINDS["ONNX Runtime"], folder, "vgg-whole")["wrong"] == 1


def test_a_model_that_does_not_open_or_run_says_why(cases, tmp_path):
    folder = copied(cases, "vgg-whole", tmp_path)
    (folder / "vgg-whole.onnx").write_bytes(b"no model")
    found = replay.tried(engines, KINDS["ONNX Runtime"], folder, "vgg-whole")
    assert not found["opens"]
    assert found["why"]


def test_a_program_that_crashes_costs_one_case(monkeypatch, tmp_path):
    script = (
        "import json, os, sys\n"
        "for name in sys.argv[1:]:\n"
        "    print(json.dumps({'begin': name}), flush=True)\n"
        "    if name.endswith('int8'): os.abort()\n"
        "    print('a word of a library')\n"
        "    print(json.dumps({'case': name, 'opens': True, 'wrong': 0, 'compared': 8}), flush=True)\n"
    )
    (tmp_path / "program.py").write_text(script)
    monkeypatch.setattr(onnx_runtimes, "_command", lambda *given: [sys.executable, str(tmp_path / "program.py"), *given[-1]])
    names = ["vgg-whole", "vgg-int8", "vgg-step"]
    outcome = run(Program("a program", "none", frozenset(FORMS)), "", tmp_path, names)
    assert {name: found.get("wrong") for name, found in outcome.cases.items()} == {
        "vgg-whole": 0,
        "vgg-int8": None,
        "vgg-step": 0,
    }
    assert list(outcome.faults()) == [f"a program: vgg-int8: {outcome.cases['vgg-int8']['why']}"]


def test_what_must_be_equal_is_a_fault_and_the_page_says_what_was_measured():
    must = Program("a|program", "none", frozenset(FORMS))
    outcome = Outcome(must, "1.0")
    for form in FORMS:
        outcome.cases[f"vgg-{form}"] = {"case": f"vgg-{form}", "opens": True, "wrong": 0, "compared": 10}
    assert list(outcome.faults()) == []
    outcome.cases["vgg-step"]["wrong"] = 3
    outcome.cases["vgg-int8"]["wrong"] = 2  # rounds, so it may
    outcome.cases["vgg-whole"] = {"case": "vgg-whole", "opens": False, "why": "Scan * is [not] known"}
    assert [fault.partition(": ")[2] for fault in outcome.faults()] == [
        "vgg-whole: Scan * is [not] known",
        "vgg-step: 3 of 10 spikes differ",
    ]
    text = page.page([outcome], NETWORKS[:1])
    assert "| one step a call | 3 differ |" in text
    assert "| whole sequences | not opened (1) |" in text
    assert "1. Scan \\* is \\[not\\] known" in text
