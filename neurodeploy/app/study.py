"""What a sweep keeps of its trials: an Optuna study in a database, which may be damaged or another search's."""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurodeploy.app.workers import alone, place_of
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.recipe.sweep import Space, Value
from neurodeploy_energy.price.profiles import load

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STUDY = "study.db"
_ATTRIBUTE = "neurodeploy"
_HEARTBEAT, _GRACE = 30, 180
"""Seconds between a worker's signs of life, and without one until its trial counts as abandoned."""
_DAMAGES = (ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError, RuntimeError)
"""What Optuna and SQLAlchemy raise, beside errors of their own, where a table holds what they would not have written."""


@dataclass(frozen=True)
class Found:
    """One trial that was completed; means over the seeds.

    Attributes:
        number: of the trial, and of its folder.
        values: setting → value.
        accuracy: percent of the samples that were held out.
        uj: estimated energy per sample, µJ.
        test_accuracy: percent of the test set.
        spikes: per sample.
        front: no other trial is at least as accurate for less energy.
    """

    number: int
    values: dict[str, Value]
    accuracy: float
    uj: float
    test_accuracy: float
    spikes: float
    front: bool


@dataclass(frozen=True)
class Outcome:
    """What a sweep has found so far.

    Attributes:
        recipe: its name.
        profile: under which the energy was estimated.
        student: that was sought.
        held_out: training samples that the trials were judged by.
        seeds: of each trial.
        found: completed trials in their order.
        failed: trials that ended without a result, by number → why.
    """

    recipe: str
    profile: str
    student: str
    held_out: int
    seeds: int
    found: tuple[Found, ...]
    failed: dict[int, str]

    @property
    def front(self) -> tuple[Found, ...]:
        """From the least energy to the highest accuracy."""
        return tuple(sorted((one for one in self.found if one.front), key=lambda one: one.uj))


@contextmanager
def readable(url: str) -> Iterator[None]:
    """Around what reads or writes a storage, and nothing else.

    Raises:
        UserError: its database is damaged, gone, full, or none.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError, OptunaError, *_DAMAGES) as error:
        raise UserError(f"{url}: no storage that Optuna can use: {_reason(error)}") from None


@contextmanager
def unlost(url: str) -> Iterator[None]:
    """Around the work on a trial, which writes to the storage at its beginning and its end.

    Raises:
        Failure: the storage is gone, full or locked.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise Failure(f"{url}: the storage was lost: {_reason(error)}; the same command goes on once it is back") from None


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def url_of(root: Path, storage: str | None) -> str:
    """Where the trials of the sweep in a folder are kept."""
    return storage or f"sqlite:///{root / STUDY}"


def opened(space: Space, root: Path, storage: str | None) -> "Study":
    """The study of a search, made if there is none.

    Raises:
        UserError: Optuna is missing, or the storage is unavailable, damaged, or holds another search.
    """
    try:
        import optuna
    except ImportError:
        raise UserError('sweep: Optuna is not installed; pip install "neurodeploy[sweep]"') from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    root.mkdir(parents=True, exist_ok=True)
    url = url_of(root, storage)
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    name = space.recipe({}).name
    searched = _fingerprint(space)
    directions = [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]
    with alone(root), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        with readable(url):
            kept = optuna.storages.RDBStorage(url, engine_kwargs=options, heartbeat_interval=_HEARTBEAT, grace_period=_GRACE)
            study = optuna.create_study(study_name=name, storage=kept, directions=directions, load_if_exists=True)
            held = study.user_attrs.get(_ATTRIBUTE, searched)
            same = held == searched and study.directions == directions
        if not same:
            raise UserError(f"{url}: holds a search of {name} with other settings; choose another --output or --storage")
        with readable(url):
            study.set_user_attr(_ATTRIBUTE, searched)
            study.set_metric_names(["accuracy, %", f"energy, µJ ({space.settings.profile}, estimate)"])
    return study


def outcome_of(study: "Study", space: Space, held_out: int) -> Outcome:
    """A study's trials.

    Raises:
        UserError: one of them holds what no trial gives.
    """
    from optuna.trial import TrialState

    recipe = space.recipe({})
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = {trial.number for trial in study.best_trials} if done else set()
    failed = {place_of(t): t.user_attrs["failure"] for t in study.get_trials(deepcopy=False) if "failure" in t.user_attrs}
    searched = {parameter.path for parameter in space.settings.parameter}
    found = tuple(_found(trial, searched, front=trial.number in best) for trial in done)
    return Outcome(recipe.name, space.settings.profile, recipe.deployed, held_out, len(recipe.seeds), found, failed)


def _found(trial: "FrozenTrial", searched: set[str], *, front: bool) -> Found:
    more = trial.user_attrs
    if trial.params.keys() != searched:
        raise UserError(f"trial {trial.number}: its settings are not those that are searched; the storage is damaged")
    numbers = (*trial.values, more.get("test_accuracy"), more.get("spikes"))
    if len(numbers) != 4 or not all(isinstance(one, int | float) and isfinite(one) for one in numbers):
        raise UserError(f"trial {trial.number}: its accuracy, energy and spikes are no numbers; the storage is damaged")
    accuracy, uj, test_accuracy, spikes = numbers
    return Found(place_of(trial), dict(trial.params), accuracy, uj, test_accuracy, spikes, front)


def counted(study: "Study") -> list["FrozenTrial"]:
    """Trials that are done, under way, or failed for a reason of their own; not those that somebody interrupted."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.RUNNING) or "failure" in t.user_attrs]


def _fingerprint(space: Space) -> str:
    """Of all that decides what a trial gives; the number of trials does not."""
    settings = space.settings.model_dump(exclude={"trials"})
    return digest({"recipe": space.content, "sweep": settings, "profile": str(load(space.settings.profile))})


def digest(content: Mapping[str, Any]) -> str:
    """Of settings, short enough for a name."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
