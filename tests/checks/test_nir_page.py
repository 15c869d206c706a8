"""The page of NIR files: whose limit every failure is, and that explanations do not outlive their failures."""

from pathlib import Path

import checks.nir.page
from checks.nir.cases import cases
from checks.nir.limits import READING_OURS, READING_THEIRS
from checks.nir.measuring import Found
from checks.nir.page import page, unexplained
from neurodeploy.graph import interpreter

EQUAL, DIFFERENT = Found(True, 200, 0, "norse"), Found(True, 200, 3, "norse")
NOT_READ = Found(False, 0, 0, "ValueError: a | b")
ROOT = Path(__file__).parents[2]


def test_a_failure_without_explanation_and_an_explanation_without_failure_are_found():
    ours = {"norse": dict.fromkeys(READING_OURS["norse"], DIFFERENT)}
    theirs = {"norse": dict.fromkeys(READING_THEIRS["norse"], NOT_READ)}
    assert unexplained(ours, theirs) == []
    ours["norse"] |= {"li": EQUAL, "lif": DIFFERENT}
    del ours["norse"]["delay"]
    assert unexplained(ours, theirs) == [
        "norse, li: is explained, but equal",
        "norse, lif: is not explained: 1.5 % differ, norse",
        "norse, delay: explained, but there is no such network",
    ]


def test_tables_name_networks_results_and_limits():
    networks = {name: case for name, case in cases().items() if name in ("lif", "li")}
    text = page({"norse": {"nir": "1.0.4"}}, networks, {"norse": {"lif": EQUAL, "li": NOT_READ}}, {"norse": {"cuba": EQUAL}})
    assert "- Norse: nir 1.0.4\n" in text
    assert "| linear, LIF, decay 0.5 | equal |\n| linear, leaky integrator | not read |\n" in text
    assert (
        "| linear, leaky integrator | Norse | Norse's reader: passes over LI without a word (`ValueError: a / b`) |\n" in text
    )
    assert "| Norse | cuba | norse |  | equal |  |\n" in text


def test_every_network_that_is_passed_on_spikes():
    for name, case in cases().items():
        output = interpreter.run(case.graph, case.inputs)["output"]
        assert 0.02 < output.mean() < 0.9, name


def test_the_page_in_the_documentation_is_the_one_that_was_written_here():
    head = Path(checks.nir.page.__file__).with_name("head.md").read_text(encoding="utf-8")
    written = (ROOT / "docs" / "nir.md").read_text(encoding="utf-8")
    assert written.startswith(head.rstrip())
    assert all(case.what in written for case in cases().values())
