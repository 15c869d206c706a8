import pytest

from neurodeploy.recipe import load, with_seeds
from neurodeploy.training.evaluation import Accuracy, Evaluation
from neurodeploy.training.results import NetworkResult, Results, front, pareto_front

DIGITS = load("digits")


def _results() -> Results:
    recipe = with_seeds(DIGITS, (0, 1))
    results = Results.none_yet(recipe, recipe.data.load())
    for seed in recipe.seeds:
        for role, correct, spikes in (
            ("teacher", 490, 0.0),
            ("baseline", 480, 200.0),
            ("student", 478 + seed, 90.0 + 20 * seed),
        ):
            found = Evaluation(Accuracy(correct, 500), {} if role == "teacher" else {"act1": spikes})
            results = results.with_network(NetworkResult.of(recipe, seed, role, found))
    return results


def test_the_front_names_every_network_with_its_spikes_against_the_baseline():
    results = _results()
    figure = front([results, results], [["baseline", "student"]] * 2, ["one", "other $x_"])
    left, right = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "none is better in both",
        "baseline",
        "student (-50 %)",
    ]
    assert left.get_xlabel() == "spikes per sample"
    assert left.get_ylabel() == "test accuracy, % of 500, 2 seeds"
    assert right.get_title(loc="left") == "other $x_"
    assert left.get_xlim()[0] == 0
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ({"a": (1.0, 1.0), "b": (2.0, 2.0)}, [(1.0, 1.0), (2.0, 2.0)]),
        ({"a": (2.0, 1.0), "b": (1.0, 2.0)}, [(1.0, 2.0)]),
        ({"a": (1.0, 1.0), "b": (1.0, 3.0), "c": (2.0, 3.0)}, [(1.0, 3.0)]),
    ],
)
def test_a_network_that_another_beats_in_both_is_not_on_the_front(points, best):
    assert pareto_front(points) == best
