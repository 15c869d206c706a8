import pytest

from neurodeploy.io.errors import UserError
from neurodeploy.recipe import load, with_seeds
from neurodeploy.training.evaluation import Accuracy, Evaluation
from neurodeploy.training.results import NetworkResult, Results, merged, read, with_interval, write

DIGITS = load("digits")


def _of_seed(seed: int, correct: int, spikes: float) -> Results:
    recipe = with_seeds(DIGITS, (seed,))
    results = Results.none_yet(recipe, recipe.data.load())
    for role in recipe.roles:
        found = Evaluation(Accuracy(correct, 500), {} if role == "teacher" else {"act1": spikes, "act2": 1.0})
        results = results.with_network(NetworkResult.of(recipe, seed, role, found))
    return results


def test_results_read_back_are_those_written(tmp_path):
    results = _of_seed(3, 480, 10.5)
    write(tmp_path / "results.json", results)
    assert read(tmp_path / "results.json") == results


def test_a_relu_network_has_no_time_steps_and_a_student_those_of_the_recipe():
    steps = {network.role: network.steps for network in _of_seed(0, 480, 1.0).networks}
    assert steps == {"teacher": None, "baseline": 4, "student": 4}


def test_runs_of_different_seeds_become_one_with_means_and_intervals():
    results = merged(
        [_of_seed(seed, correct, spikes) for seed, correct, spikes in ((2, 470, 8.0), (0, 480, 10.0), (1, 490, 12.0))]
    )
    assert results.recipe.seeds == (2, 0, 1)
    assert [network.seed for network in results.of_role("student")] == [0, 1, 2]
    mean, half = results.accuracy("student")
    assert mean == pytest.approx(96)
    assert half == pytest.approx(4.302653 * 2 / 3**0.5)
    assert results.spikes("student")[0] == pytest.approx(11)


def test_runs_that_do_not_belong_together_are_refused():
    first = _of_seed(0, 480, 1.0)
    with pytest.raises(UserError, match="seed 0 occurs twice"):
        merged([first, first])
    other = _of_seed(1, 480, 1.0)
    with pytest.raises(UserError, match="of different recipes or data"):
        merged([first, other.model_copy(update={"recipe": other.recipe.model_copy(update={"steps": 8})})])


@pytest.mark.parametrize(
    ("text", "message"), [(None, "no such file"), ("{", "Invalid JSON"), ("{}", "neurodeploy: Field required")]
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=f"results.json.*{message}"):
        read(path)


def test_the_energy_of_a_role_is_a_mean_over_seeds_or_nothing_where_a_seed_was_not_counted():
    results = merged([_of_seed(seed, 480, 10.0) for seed in (0, 1)])
    assert results.energy("student", "loihi1") is None
    counted = [network.model_copy(update={"energy": {"loihi1": 1.0 + network.seed}}) for network in results.networks]
    results = results.model_copy(update={"networks": tuple(counted)})
    found = results.energy("student", "loihi1")
    assert found is not None
    assert found[0] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("mean", "half", "told"),
    [
        (4.0373, 0.0307, "4.04 ± 0.03"),
        (0.18114, 0.0112, "0.181 ± 0.011"),
        (39.51, 0.0, "39.5 ± 0.0"),
        (1234.5, 20.2, "1,234 ± 20"),
        (7.1, None, "7.10"),
        (0.0, 0.0, "0.00 ± 0.00"),
    ],
)
def test_an_energy_and_its_interval_end_at_the_same_place(mean, half, told):
    assert with_interval((mean, half)) == told
