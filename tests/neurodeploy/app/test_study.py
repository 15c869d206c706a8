"""The database of a sweep, where it is damaged, another search's, or lost under way."""

import sqlite3
from contextlib import closing

import pytest

from neurodeploy.app.study import STUDY, counted, opened, outcome_of, readable, unlost, url_of
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.recipe.sweep import load_space

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat")


@pytest.fixture
def space():
    return load_space("digits", None)


@pytest.fixture
def folder(tmp_path, space):
    """Of a sweep with one trial that is complete."""
    study = opened(space, tmp_path, None)
    trial = study.ask()
    for parameter in space.settings.parameter:
        trial.suggest_float(parameter.path, 0.5, 1.0)
    for name, value in (("place", 0), ("test_accuracy", 97.5), ("spikes", 300.25)):
        trial.set_user_attr(name, value)
    study.tell(trial, [97.0, 3.5])
    return tmp_path


def looked_at(folder, space):
    study = opened(space, folder, None)
    with readable(url_of(folder, None)):
        counted(study)
        return outcome_of(study, space, 1)


def test_a_sound_study_tells_its_trial(folder, space):
    (found,) = looked_at(folder, space).found
    assert (found.accuracy, found.uj, found.test_accuracy, found.spikes, found.front) == (97.0, 3.5, 97.5, 300.25, True)


DAMAGES = [
    "UPDATE trial_values SET value_type = 'INF_POS'",
    "UPDATE trial_values SET value = 'many'",
    "DELETE FROM trial_values",
    "DELETE FROM trial_user_attributes WHERE key = 'spikes'",
    "UPDATE trial_user_attributes SET value_json = '[[[['",
    "UPDATE trial_user_attributes SET value_json = '\"x\"' WHERE key = 'place'",
    "UPDATE trial_user_attributes SET value_json = '\"x\"' WHERE key = 'spikes'",
    "UPDATE trial_user_attributes SET value_json = 'NaN' WHERE key = 'test_accuracy'",
    "UPDATE trial_params SET distribution_json = '{}'",
    "UPDATE trials SET state = 'DONE'",
    "DROP TABLE trial_params",
    "DELETE FROM study_directions",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_study_that_is_damaged_is_refused_in_one_line(folder, space, damage):
    with closing(sqlite3.connect(folder / STUDY)) as database:
        database.execute(damage)
        database.commit()
    with pytest.raises(UserError) as caught:
        looked_at(folder, space)
    assert "\n" not in str(caught.value)
    assert STUDY in str(caught.value) or "trial 0: " in str(caught.value)


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + bytes(90), b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_in_one_line(tmp_path, space, content):
    (tmp_path / STUDY).write_bytes(content)
    with pytest.raises(UserError, match=rf"{STUDY}: no storage that Optuna can use: .") as caught:
        looked_at(tmp_path, space)
    assert "\n" not in str(caught.value)


def test_the_search_of_another_recipe_or_with_other_goals_is_left_alone(folder, space):
    with closing(sqlite3.connect(folder / STUDY)) as database:
        database.execute("UPDATE study_directions SET direction = 'MINIMIZE'")
        database.commit()
    with pytest.raises(UserError, match="holds a search of digits with other settings; choose another --output or --storage"):
        opened(space, folder, None)


def test_a_storage_that_is_lost_under_way_is_a_failure_in_one_line():
    from sqlalchemy.exc import OperationalError

    full = OperationalError("INSERT", {}, Exception("database or disk is full\nand more"))
    with (
        pytest.raises(Failure, match=r"^db: the storage was lost: .*disk is full; the same command goes on once.*$"),
        unlost("db"),
    ):
        raise full
    with pytest.raises(RuntimeError, match="of a training"), unlost("db"):
        raise RuntimeError("of a training")
