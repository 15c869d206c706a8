"""Workers of a sweep: whose files stay, and whose are tidied away."""

import pytest

from neurodeploy.app import workers
from neurodeploy.app.workers import FOLDER, resume_abandoned, sign, worker
from neurodeploy.io.files import locked

optuna = pytest.importorskip("optuna", reason="optuna is not installed")


RUNNING = optuna.trial.TrialState.RUNNING


@pytest.fixture
def study():
    return optuna.create_study(storage=optuna.storages.InMemoryStorage())


def names(root):
    return {path.name for path in (root / FOLDER).iterdir()}


def looked(study, root, name, said=None, *, shared=False):
    return resume_abandoned(study, root, name, [].append if said is None else said.append, shared=shared)


def test_the_file_of_a_worker_that_was_killed_between_two_trials_does_not_stay(tmp_path, study):
    with worker(tmp_path) as name:
        (tmp_path / FOLDER / "dead").touch()
        assert looked(study, tmp_path, name)
        assert names(tmp_path) == {name.rpartition("/")[2]}
    assert names(tmp_path) == set()


def test_the_file_of_a_living_worker_stays_whatever_it_is_at(tmp_path, study):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "busy").touch()
    with worker(tmp_path) as name, locked(tmp_path / FOLDER / "busy") as held:
        assert held
        assert looked(study, tmp_path, name)
        assert "busy" in names(tmp_path)


def test_the_trial_of_a_killed_worker_is_resumed_once_and_its_file_is_gone(tmp_path, study):
    said = []
    with worker(tmp_path) as name:
        sign(study.ask(), name)  # and the lock is let go of, as the system does for one that is killed
    (tmp_path / FOLDER / name.rpartition("/")[2]).touch()
    with worker(tmp_path) as other:
        for _ in range(2):
            assert looked(study, tmp_path, other, said)
        assert names(tmp_path) == {other.rpartition("/")[2]}
    assert said == ["trial 0: its worker was killed; going on with it where its last checkpoint ends"]


def test_a_trial_whose_worker_was_killed_before_it_signed_is_resumed_in_its_place(tmp_path, study):
    said = []
    with worker(tmp_path) as name:
        for _ in range(2):  # places 0 and 1
            sign(study.ask(), name)
    (tmp_path / FOLDER / name.rpartition("/")[2]).touch()
    with worker(tmp_path) as other:
        assert looked(study, tmp_path, other, said)
        assert [sign(study.ask(), other) for _ in range(2)] == [0, 1]
        study.ask()  # number 4: begun by one that was killed in this moment; its place is 2
        assert study.trials[4].state == RUNNING
        assert looked(study, tmp_path, other, said)
        assert study.trials[4].state == optuna.trial.TrialState.FAIL
        assert sign(study.ask(), other) == 2
    assert [line.partition(":")[0] for line in said] == ["trial 0", "trial 1", "trial 2"]


@pytest.mark.parametrize("shared", [False, True], ids=["another lives", "shared storage"])
def test_a_trial_without_a_name_may_be_that_of_a_worker_that_lives(tmp_path, study, shared):
    with worker(tmp_path) as name:
        study.ask()
        if shared:
            assert not looked(study, tmp_path, name, shared=True)
        else:
            with worker(tmp_path):
                assert not looked(study, tmp_path, name)
        assert study.trials[0].state == RUNNING
        assert looked(study, tmp_path, name)
        assert study.trials[0].state == optuna.trial.TrialState.FAIL


def test_a_trial_without_a_name_that_the_storage_gave_up_is_resumed_too(tmp_path, study):
    said = []
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    with worker(tmp_path) as name:
        assert looked(study, tmp_path, name, said)
        assert sign(study.ask(), name) == 0
    assert said == ["trial 0: its worker was interrupted; going on with it where its last checkpoint ends"]


def test_a_worker_that_is_killed_while_it_takes_over_a_nameless_trial_loses_nothing(tmp_path, study, monkeypatch):
    study.ask()
    monkeypatch.setattr(type(study), "enqueue_trial", killed)
    with worker(tmp_path) as name, pytest.raises(KeyboardInterrupt):
        looked(study, tmp_path, name)
    monkeypatch.undo()
    with worker(tmp_path) as other:
        assert looked(study, tmp_path, other)
        assert sign(study.ask(), other) == 0


def killed(*_args, **_settings):
    raise KeyboardInterrupt


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
