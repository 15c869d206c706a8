"""Workers of a sweep: whose files stay, and whose are tidied away."""

import pytest

from neurodeploy.app import workers
from neurodeploy.app.workers import FOLDER, resume_abandoned, sign, worker
from neurodeploy.io.files import locked

optuna = pytest.importorskip("optuna", reason="optuna is not installed")


@pytest.fixture
def study():
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def names(root):
    return {path.name for path in (root / FOLDER).iterdir()}


def test_the_file_of_a_worker_that_was_killed_between_two_trials_does_not_stay(tmp_path, study):
    with worker(tmp_path) as name:
        (tmp_path / FOLDER / "dead").touch()
        resume_abandoned(study, tmp_path, say=lambda _: None)
        assert names(tmp_path) == {name.rpartition("/")[2]}
    assert names(tmp_path) == set()


def test_the_file_of_a_living_worker_stays_whatever_it_is_at(tmp_path, study):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "busy").touch()
    with worker(tmp_path), locked(tmp_path / FOLDER / "busy") as held:
        assert held
        resume_abandoned(study, tmp_path, say=lambda _: None)
        assert "busy" in names(tmp_path)


def test_the_trial_of_a_killed_worker_is_resumed_once_and_its_file_is_gone(tmp_path, study):
    said = []
    with worker(tmp_path) as name:
        sign(study.ask(), name)  # and the lock is let go of, as the system does for one that is killed
    (tmp_path / FOLDER / name.rpartition("/")[2]).touch()
    with worker(tmp_path) as other:
        for _ in range(2):
            resume_abandoned(study, tmp_path, said.append)
        assert names(tmp_path) == {other.rpartition("/")[2]}
    assert said == ["trial 0: its worker was killed; going on with it where its last checkpoint ends"]


def test_a_worker_whose_file_another_takes_for_a_dead_ones_takes_another_name(tmp_path, monkeypatch):
    taken = []

    def interfering(path):
        if not taken:
            taken.append(path.name)
            path.unlink()  # between the making of the file and the taking of its lock
        return locked(path)

    monkeypatch.setattr(workers, "locked", interfering)
    with worker(tmp_path) as name:
        assert names(tmp_path) == {name.rpartition("/")[2]}
        assert name.rpartition("/")[2] != taken[0]
