"""Workers of a sweep, and what becomes of the trials of those that were killed: another worker goes on with them at once.

A worker holds the lock of a file as long as it lives; the system lets go of it when the worker is killed, however that happens.
Its trials carry the file's name. Of workers on other machines only their heartbeat in the storage is known.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from neurodeploy.io.files import locked, writing

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

FOLDER = ".workers"
_WORKER, _PLACE, _RESUMES = "worker", "place", "resumes"
"""User attributes of a trial: who works on it; its number among those that are no resumption; which one it resumes."""
_NAMELESS = timedelta(seconds=60)
"""After this, a trial that nobody has put a name to was begun by a worker that was killed in the same moment."""


@contextmanager
def worker(root: Path) -> Iterator[str]:
    """Be a worker of the sweep in a folder; gives its name."""
    while True:
        name = f"{socket.gethostname()}/{uuid4().hex}"
        path = _file(root, name)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        with locked(path) as held:
            if held is False or not path.exists():  # another one took it for that of a dead worker in between
                continue
            try:
                yield name
            finally:
                path.unlink(missing_ok=True)
            return


def _file(root: Path, name: str) -> Path:
    return root / FOLDER / name.rpartition("/")[2]


def sign(trial: "Trial", name: str) -> int:
    """Put a worker's name to a trial, and say the trial's place: the same when it is resumed, whatever its new number."""
    trial.set_user_attr(_WORKER, name)
    place = trial.user_attrs.get(_PLACE)
    if place is None:
        place = _place_among(trial.number, trial.study.get_trials(deepcopy=False))
        trial.set_user_attr(_PLACE, place)
    return int(place)


def _place_among(number: int, trials: Sequence["FrozenTrial"]) -> int:
    """The place of a trial that resumes none."""
    return number - sum(_RESUMES in one.user_attrs for one in trials if one.number < number)


def place_of(trial: "FrozenTrial") -> int:
    """The number of a trial's folder."""
    return int(trial.user_attrs.get(_PLACE, trial.number))


def resume_abandoned(study: "Study", root: Path, name: str, say: Callable[[str], None], *, shared: bool) -> bool:
    """Queue the trials of workers that were killed or interrupted once more, first of all; each by one of those who ask.

    Args:
        study: with the trials.
        root: folder of the sweep.
        name: of the worker that asks.
        say: told in a sentence what has been done.
        shared: workers of other folders may use the storage too.

    Returns:
        Whether it is clear for every trial under way who works on it. A worker may be killed between the beginning of a trial
        and its signature: such a trial is nobody's, and does not count as one that another worker is about to end.
    """
    from optuna.exceptions import OptunaError
    from optuna.trial import TrialState

    trials, clear = study.get_trials(deepcopy=False), True
    resumed = {trial.user_attrs[_RESUMES] for trial in trials if _RESUMES in trial.user_attrs}
    lonely = not shared and not _others_live(root, name)  # whoever began a trial without a name lives no more
    for trial in trials:
        running = trial.state == TrialState.RUNNING
        named = isinstance(trial.user_attrs.get(_WORKER), str)
        killed = running and (_is_abandoned(trial, root) or (lonely and not named))
        clear = clear and (killed or named or not running)
        left = trial.state == TrialState.FAIL and "failure" not in trial.user_attrs
        if trial.number in resumed or not (killed or left):
            continue
        with locked(root) as held:
            if held is False:
                continue  # another worker is looking too
            known = study.get_trials(deepcopy=False)
            if any(one.user_attrs.get(_RESUMES) == trial.number for one in known):
                continue
            if killed:
                try:
                    if not named:  # so that it is known as begun if this worker is killed now
                        study._storage.set_trial_user_attr(trial._trial_id, _WORKER, name)
                    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                except (OptunaError, RuntimeError):  # it has ended in this moment
                    continue
            place = int(trial.user_attrs.get(_PLACE, _place_among(trial.number, known)))
            kept: dict[str, Any] = {_RESUMES: trial.number, _PLACE: place}
            study.enqueue_trial(dict(trial.params), user_attrs=kept)
        reason = "killed" if killed else "interrupted"
        say(f"trial {place}: its worker was {reason}; going on with it where its last checkpoint ends")
    _forget_dead(study, root)
    return clear


def _others_live(root: Path, name: str) -> bool:
    """Whether another worker than this one holds the lock of its file."""
    for path in (root / FOLDER).iterdir():
        if path != _file(root, name):
            with locked(path) as held:
                if held is not True:
                    return True
    return False


def _forget_dead(study: "Study", root: Path) -> None:
    """Remove the files of workers that were killed, but for those whose trials are still to be resumed."""
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    needed = {_file(root, trial.user_attrs[_WORKER]) for trial in running if _WORKER in trial.user_attrs}
    for path in (root / FOLDER).iterdir():
        if path not in needed:
            with locked(path) as held:
                if held is True:
                    path.unlink(missing_ok=True)


def _is_abandoned(trial: "FrozenTrial", root: Path) -> bool:
    name = trial.user_attrs.get(_WORKER)
    if not isinstance(name, str):
        begun = trial.datetime_start
        return begun is not None and datetime.now() - begun > _NAMELESS
    if name.rpartition("/")[0] != socket.gethostname():
        return False
    path = _file(root, name)
    if not path.exists():
        return os.access(root, os.W_OK)
    with locked(path) as held:
        return held is True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is inside for this folder."""
    while True:
        with locked(folder) as held:
            if held is not False:
                yield
                return
        time.sleep(0.5)
