"""The page of NIR files: whose limit every failure is, and that explanations do not outlive their failures."""

from pathlib import Path

import pytest

import checks.nir.page
from checks.nir.cases import cases
from checks.nir.limits import READING_THEIRS
from checks.nir.measuring import Found
from checks.nir.page import page, reasons, unexplained
from neurodeploy.graph import interpreter

EQUAL, DIFFERENT = Found(True, 200, 0, "norse"), Found(True, 200, 3, "norse")
NOT_READ = Found(False, 0, 0, "ValueError: a | b")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def networks():
    return cases()


def test_failures_without_a_rule_and_rules_without_a_failure_are_faults(networks):
    theirs = {"norse": dict.fromkeys(READING_THEIRS["norse"], NOT_READ)}
    sound = {"lif": EQUAL, "li": DIFFERENT, "delay": NOT_READ, "lif-soft": DIFFERENT}
    assert unexplained(networks, {("norse", "norse"): sound}, theirs) == []
    ours = {("norse", "norse"): sound | {"lif": DIFFERENT, "li": EQUAL}, ("snntorch", "nir"): {"delay": DIFFERENT}}
    assert unexplained(networks, ours, {"norse": {}}) == [
        "norse, lif in norse: is not explained: 1.5 % differ, norse",
        "norse, li in norse: equal, and said: wrong: leak: passes over LI without a word",
        "snntorch, delay in nir: is read, and said: refused: delay: knows no Delay",
        "norse, conv: explained, but there is no such network",
    ]


def test_rules_say_whose_limit_a_network_meets(networks):
    assert [str(one) for one in reasons("norse", "norse", "li", networks["li"])] == [
        "wrong: leak: passes over LI without a word"
    ]
    assert reasons("snn-mlir", "snn-mlir", "avg-pool", networks["avg-pool"]) == ()
    assert "no reset that subtracts" in reasons("snn-mlir", "snn-mlir", "lif-soft", networks["lif-soft"])[0].text


def test_tables_name_networks_results_and_limits(networks):
    some = {name: case for name, case in networks.items() if name in ("lif", "li")}
    measured = {("norse", "norse"): {"lif": EQUAL, "li": NOT_READ}, ("norse", "nir"): {"lif": DIFFERENT, "li": NOT_READ}}
    text = page({"norse": {"nir": "1.0.4"}}, some, measured, {"norse": {"cuba": EQUAL}})
    assert "- Norse: nir 1.0.4\n" in text
    assert "| linear, LIF, decay 0.5 | equal |\n| linear, leaky integrator | not read |\n" in text
    assert "| linear, LIF, decay 0.5 | 1.5 % differ |\n" in text
    assert "| Norse | passes over LI without a word | li |\n" in text
    assert "| Norse | cuba | norse |  | equal |  |\n" in text


def test_every_network_that_is_passed_on_spikes(networks):
    for name, case in networks.items():
        output = interpreter.run(case.graph, case.inputs)["output"]
        assert 0.02 < output.mean() < 0.9, name


def test_the_page_in_the_documentation_is_the_one_that_was_written_here(networks):
    head = Path(checks.nir.page.__file__).with_name("head.md").read_text(encoding="utf-8")
    written = (ROOT / "docs" / "nir.md").read_text(encoding="utf-8")
    assert written.startswith(head.rstrip())
    assert all(case.what in written for case in networks.values())
