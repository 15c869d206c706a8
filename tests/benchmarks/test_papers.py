import pytest
import torch

from benchmarks.papers.__main__ import DOCS, by_recipe, text
from benchmarks.papers.claim import Claim, Finding
from benchmarks.papers.padding import energy_cell, on_padding, sample_shape
from benchmarks.papers.page import Section, page
from benchmarks.papers.paper import Ours, Paper, Printed
from benchmarks.papers.papers import PAPERS
from benchmarks.papers.sections import SECTIONS
from neurodeploy.recipe import built_in, load, with_seeds
from neurodeploy.training.evaluation import Accuracy, Evaluation
from neurodeploy.training.results import NetworkResult, Results, read
from neurodeploy_energy import account
from neurodeploy_energy.price.profiles import load as profile

DIGITS = load("digits")


def _of_seed(seed: int, baseline: tuple[int, float], student: tuple[int, float]) -> Results:
    recipe = with_seeds(DIGITS, (seed,))
    results = Results.none_yet(recipe, recipe.data.load())
    for role, (correct, spikes) in (("teacher", (495, 0.0)), ("baseline", baseline), ("student", student)):
        found = Evaluation(Accuracy(correct, 500), {} if role == "teacher" else {"act1": spikes})
        results = results.with_network(NetworkResult.of(recipe, seed, role, found))
    return results


def _three(*students: tuple[int, float]) -> Results:
    parts = [_of_seed(seed, (480, 100.0), student) for seed, student in enumerate(students)]
    return by_recipe(parts)["digits"]


@pytest.mark.parametrize(
    ("correct", "verdict"),
    [
        ((485, 486, 485), "holds"),
        ((479, 490, 486), "in this direction"),
        ((475, 474, 475), "contradicted"),
        ((470, 485, 480), "not seen"),
    ],
)
def test_a_claim_is_judged_by_the_sign_of_its_difference_and_whether_its_interval_includes_0(correct, verdict):
    finding = Claim("x", "student", "baseline").test(_three(*((number, 90.0) for number in correct)))
    assert finding.verdict == verdict
    assert finding.mean == pytest.approx(sum(100 * (number - 480) / 500 for number in correct) / 3)


def test_a_claim_of_no_loss_holds_within_its_margin():
    results = _three((479, 90.0), (480, 90.0), (479, 90.0))
    assert Claim("x", "student", "baseline").test(results).verdict == "not seen"
    assert Claim("x", "student", "baseline", margin=0.3).test(results).verdict == "in this direction"
    assert Claim("x", "student", "baseline", margin=0.5).test(results).verdict == "holds"


def test_fewer_spikes_are_a_negative_percentage_and_hold_the_claim():
    finding = Claim("x", "student", "baseline", "spikes").test(_three((480, 70.0), (480, 75.0), (480, 80.0)))
    assert finding.difference == "-25.00 ± 12.42 %"
    assert finding.verdict == "holds"


def test_a_difference_that_rounds_to_0_has_no_minus():
    assert Finding(Claim("x", "student", "baseline"), -1e-15, 0.43).difference == "+0.00 ± 0.43 points"


@pytest.mark.parametrize(
    ("spikes", "difference", "verdict"),
    [
        ({"act1": 60.0, "act2": 30.0, "act3": 9.0, "head": 99.0}, "+1.00 ± 0.00 layers", "holds"),
        ({"act1": 60.0, "act2": 51.0, "act3": 11.0, "head": 0.0}, "-3.00 ± 0.00 layers", "contradicted"),
        ({"act1": 50.0, "act2": 40.0, "act3": 11.0, "head": 0.0}, "+0.00 ± 0.00 layers", "not seen"),
    ],
)
def test_fewer_spikes_in_most_layers_are_counted_layer_by_layer(spikes, difference, verdict):
    parts = []
    for part in (_of_seed(seed, (480, 1.0), (480, 1.0)) for seed in range(3)):
        layers = {"baseline": {"act1": 50.0, "act2": 50.0, "act3": 10.0, "head": 1.0}, "student": spikes}
        networks = tuple(one.model_copy(update={"spikes": layers.get(one.role, {})}) for one in part.networks)
        parts.append(part.model_copy(update={"networks": networks}))
    claim = Claim("x", "student", "baseline", measure="layers", layers=("act1", "act2", "act3"))
    finding = claim.test(by_recipe(parts)["digits"])
    assert (finding.difference, finding.verdict) == (difference, verdict)


def test_the_page_shows_the_command_the_networks_and_the_claims_of_a_recipe():
    section = Section("digits", "A heading", (Claim("it is better", "student", "baseline"),), "A remark.")
    paper = Paper("A paper", ("digits",))
    shown = page([paper], [section], {"digits": _three((485, 70.0), (486, 75.0), (485, 80.0))})
    assert "| `neurodeploy train digits` | 1 | 1 |  |  |  |" in shown
    assert "neurodeploy train digits --output runs/digits" in shown
    assert "Test samples: 500. Seeds: 0, 1, 2." in shown
    assert "| student | 4 | 97.07 ± 0.29 | 75 ± 12 |  |" in shown
    assert "| it is better (`student` − `baseline`) | +1.07 ± 0.29 points | holds |" in shown
    assert shown.endswith("A remark.\n")


def test_a_paper_has_its_printed_rows_above_ours_with_the_energy_the_command_and_the_commit():
    section = Section("digits", "A heading", ())
    printed = Printed("digits, a network", "student", 4, "97.0", "-20 %")
    paper = Paper(
        "A paper", ("digits",), (printed,), (Ours("digits", "baseline", "baseline"), Ours("digits", "student", "baseline"))
    )
    results = _three((485, 70.0), (486, 75.0), (485, 80.0))
    counted = [
        network.model_copy(update={"energy": {"cmos45-fp32": 0.25}}) if network.role == "student" else network
        for network in results.networks
    ]
    results = results.model_copy(update={"networks": tuple(counted), "commit": "abcdef0"})
    shown = page([paper], [section], {"digits": results})
    assert "| digits, a network | student | 4 |  | 97.0 |  | -20 % |  | the paper |  |" in shown
    setting = results.recipe.description.split(":")[0]
    command = "`neurodeploy train digits` | abcdef0 |"
    assert f"| {setting} | baseline | 4 | 3 | 96.00 ± 0.00 | 100 ± 0 |  |  | {command}" in shown
    assert f"| {setting} | student | 4 | 3 | 97.07 ± 0.29 | 75 ± 12 | -25.0 % | 0.250 ± 0.000 | {command}" in shown


@pytest.mark.parametrize(
    ("recipe", "role"), [("lasnn-fsdd", "teacher"), ("lasnn-fsdd", "lasnn"), ("louis-fsdd-front", "logits")]
)
def test_the_energies_that_are_said_to_hold_padding_do_and_lose_no_more_than_it(recipe, role):
    results = read(DOCS / "results" / f"{recipe}.json")
    energy = results.of_role(role)[0].energy
    (mac, ac), (mac8, ac8) = ((float(one.mac), float(one.ac)) for one in map(profile, ("cmos45-fp32", "cmos45-int8")))
    recorded = (energy["cmos45-fp32"] * ac8 - energy["cmos45-int8"] * ac) * 1e6 / (mac * ac8 - mac8 * ac)
    shape = sample_shape(results.recipe)
    network = results.recipe.build(role, shape[0], 10)
    with_padding, without = (account(network, torch.rand(1, *shape), padding=one).total.macs for one in (True, False))
    assert recorded == pytest.approx(with_padding, abs=0.5)
    assert on_padding(results, role) == pytest.approx((with_padding - without) * mac * 1e-6)
    assert 0 < without < with_padding


def test_what_is_counted_today_is_not_said_to_hold_padding():
    results = read(DOCS / "results" / "lasnn-fsdd.json").model_copy(update={"commit": "abcdef0"})
    assert (on_padding(results, "lasnn"), "padding" in energy_cell(results, "lasnn")) == (None, False)


def test_a_paper_without_results_is_left_out():
    assert "Nothing" not in page([Paper("Nothing", ("digits",))], [Section("digits", "A heading", ())], {})


def test_every_recipe_with_a_section_belongs_to_one_paper_and_every_row_is_one_of_its_networks():
    recipes = [recipe for paper in PAPERS for recipe in paper.recipes]
    assert sorted(recipes) == sorted(section.recipe for section in SECTIONS)
    for paper in PAPERS:
        for ours in paper.ours:
            assert ours.recipe in paper.recipes
            assert {ours.role, ours.against} <= set(load(ours.recipe).roles)


def test_every_claim_is_about_networks_that_its_recipe_trains_with_three_seeds():
    recipes = built_in()
    for section in SECTIONS:
        recipe = recipes[section.recipe]
        assert len(recipe.seeds) >= 3
        assert {role for claim in section.claims for role in (claim.better, claim.worse)} <= set(recipe.roles)


def test_the_page_in_docs_is_that_of_the_results_beside_it():
    assert (DOCS / "results.md").read_text("utf-8") == text()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.recipe)
def test_kept_results_are_those_of_the_recipe_as_it_is_now(section):
    results = read(DOCS / "results" / f"{section.recipe}.json")
    recipe = load(section.recipe)
    assert with_seeds(results.recipe, recipe.seeds) == recipe
    assert sorted(results.recipe.seeds) == sorted(recipe.seeds)
    assert len(results.networks) == len(recipe.seeds) * len(recipe.roles)
