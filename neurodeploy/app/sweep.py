"""A search through a recipe's settings for accuracy and little energy: Optuna, two objectives, any number of workers.

Every trial trains the sought student for each seed of the recipe, on training samples of which a part is held out; accuracy
and energy are those on that part. The test set is looked at too, and told, but never searched on.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import filterfalse
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from torch import nn

from neurodeploy.app.study import Outcome, counted, digest, opened, outcome_of, readable, unlost, url_of
from neurodeploy.app.workers import alone, resume_abandoned, sign, worker
from neurodeploy.data import DataSet
from neurodeploy.data.feeding import in_batches
from neurodeploy.data.samples import chosen
from neurodeploy.dynamics.encoders import DirectCode
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import write_text
from neurodeploy.io.kinds import kind_of
from neurodeploy.recipe import Recipe, StudentSettings
from neurodeploy.recipe.sections import LifSettings, TrainingSettings
from neurodeploy.recipe.sweep import Parameter, Space, Value
from neurodeploy.training import CHECKPOINT, Watch, freeze, train
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.experiment import RECIPE, Watcher, folder_of, silent
from neurodeploy.training.own_teacher import as_taught_by
from neurodeploy.training.stopping import split
from neurodeploy_energy import account

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from optuna import Trial


_LOOK_AGAIN = 0.5  # seconds; a worker signs a trial in the moment in which it begins it


def sweep(
    space: Space,
    root: Path,
    *,
    storage: str | None = None,
    trials: int | None = None,
    fabric: "Fabric | None" = None,
    watcher: Watcher = silent,
    say: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
) -> Outcome:
    """Search until so many trials are done, by this process and all others that share the storage.

    Args:
        space: what is searched.
        root: receives `study.db`, the teachers, and a run folder for each trial.
        storage: URL of a database that Optuna knows; `study.db` if None.
        trials: instead of the space's own number.
        fabric: where to train; the CPU if None.
        watcher: shows the progress of training.
        say: told in a sentence what has been done.
        check: called before every trial and after every batch; what it raises ends the search.

    Raises:
        UserError: Optuna is missing, the storage is unavailable, damaged or holds another search, or the space is not sound.
        Failure: no trial came to an end, or the storage was lost under way.
    """
    study, total, url = opened(space, root, storage), trials or space.settings.trials, url_of(root, storage)
    for values in ({p.path: end for p, end in zip(space.settings.parameter, ends, strict=True)} for ends in _ends(space)):
        space.recipe(values)  # a path that leads nowhere is told before anything is trained
    work = _Work(space, root, total, fabric, _checked(watcher, check), say)
    with worker(root) as work.name:
        while True:
            check()
            with readable(url):
                clear = resume_abandoned(study, root, work.name, say, shared=storage is not None)
                enough = len(counted(study)) >= total
            if enough and clear:
                break
            if enough:
                time.sleep(_LOOK_AGAIN)
                continue
            with unlost(url):
                study.optimize(work, n_trials=1, catch=(Failure, UserError))
    with readable(url):
        outcome = outcome_of(study, space, work.held_out)
    if not outcome.found:
        reasons = "; ".join(dict.fromkeys(outcome.failed.values()))
        raise Failure(f"{root}: no trial of {total} came to an end: {reasons or 'other processes are still at work'}")
    return outcome


def so_far(space: Space, root: Path, *, storage: str | None = None) -> Outcome:
    """What an interrupted sweep has found.

    Raises:
        UserError: as `sweep`.
    """
    held_out = _held_out(space, len(space.recipe({}).data.load().train_labels))
    study = opened(space, root, storage)
    with readable(url_of(root, storage)):
        return outcome_of(study, space, held_out)


def shown(value: Value) -> str:
    """A setting's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ends(space: Space) -> list[list[Value]]:
    """The first and the last value of every parameter."""
    pairs = [p.choices or (p.low, p.high) for p in space.settings.parameter]
    return [[pair[place] for pair in pairs] for place in (0, -1)]  # type: ignore[misc]


def _checked(watcher: Watcher, check: Callable[[], None]) -> Watcher:
    """The watcher, which calls `check` after every batch too."""

    @contextmanager
    def watching(title: str, epochs: int, samples: int) -> Iterator[Watch]:
        with watcher(title, epochs, samples) as watch:

            def watch_and_check(epoch: int, count: int) -> None:
                check()
                watch(epoch, count)

            yield watch_and_check

    return watching


class _Work:
    """What a trial does."""

    def __init__(
        self, space: Space, root: Path, total: int, fabric: "Fabric | None", watcher: Watcher, say: Callable[[str], None]
    ) -> None:
        self._space, self._root, self._total, self._fabric = space, root, total, fabric
        self._watcher, self._say = watcher, say
        self.name = ""
        self._data: dict[str, tuple[DataSet, DataSet]] = {}
        self.held_out = 0

    def __call__(self, trial: "Trial") -> tuple[float, float]:
        """Accuracy in percent and energy in µJ, means over the seeds."""
        from optuna import TrialPruned
        from optuna.samplers import TPESampler

        if sum(one.number < trial.number for one in counted(trial.study)) >= self._total:
            raise TrialPruned  # other workers began the last ones in the same moment
        place = sign(trial, self.name)
        # of its own for each trial, by its place: workers that start together do not draw the same values
        trial.study.sampler = TPESampler(seed=place)
        values = {p.path: _suggested(trial, p) for p in self._space.settings.parameter}
        setting = ", ".join(f"{path} = {shown(value)}" for path, value in values.items())
        try:
            accuracy, uj = self._tried(trial, place, self._space.recipe(values))
        except (Failure, UserError) as error:
            trial.set_user_attr("failure", str(error))
            self._say(f"trial {place} · {setting}: {error}")
            raise
        self._say(f"trial {place} · {setting}: accuracy {accuracy:.2f} %, {uj:.4g} µJ (estimate)")
        return accuracy, uj

    def _tried(self, trial: "Trial", place: int, recipe: Recipe) -> tuple[float, float]:
        known, test = self._split(recipe)
        folder = self._root / "trials" / str(place)
        write_text(folder / RECIPE, recipe.model_dump_json(indent=2) + "\n")
        accuracies, energies, tests, spikes = [], [], [], []
        for seed in recipe.seeds:
            relu = self._relu(recipe, seed, known)
            student = self._student(recipe, recipe.deployed, seed, folder, known, relu).cpu()
            result = evaluate(student, known.test_samples, known.test_labels, workers=known.workers)
            batches = in_batches(known.test_samples, 250, known.workers)
            report = account(student, batches, profiles=[self._space.settings.profile])
            accuracies.append(result.accuracy.percent)
            uj = report.energy(report.profiles[0].name).total_uj
            if uj is None:
                raise UserError(f"profile {report.profiles[0].name}: prices no {recipe.deployed}; choose another")
            energies.append(uj)
            spikes.append(report.total.spikes)
            tests.append(evaluate(student, test.test_samples, test.test_labels, workers=test.workers).accuracy.percent)
        trial.set_user_attr("test_accuracy", fmean(tests))
        trial.set_user_attr("spikes", fmean(spikes))
        return fmean(accuracies), fmean(energies)

    def _split(self, recipe: Recipe) -> tuple[DataSet, DataSet]:
        """The training set without the samples held out, which stand in place of the test set; and the data as they are."""
        key = f"{kind_of(recipe.data)} {recipe.data.model_dump_json()}"
        if key not in self._data:
            data = recipe.data.load()
            self.held_out = _held_out(self._space, len(data.train_labels))
            parts = split(data, self.held_out, recipe.seeds[0])
            known = replace(
                data,
                train_samples=chosen(data.train_samples, parts.train),
                train_labels=data.train_labels[parts.train],
                test_samples=chosen(data.train_samples, parts.validation),
                test_labels=data.train_labels[parts.validation],
            )
            self._data[key] = known, data
        return self._data[key]

    def _relu(self, recipe: Recipe, seed: int, data: DataSet) -> dict[str, nn.Module]:
        """What students are taught by and made of, trained once for all trials in which nothing changes for it."""
        own = recipe if recipe.source is not None else _for_its_teacher(recipe)
        folder = self._root / "teachers" / digest(own.model_dump(mode="json"))
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            trained: dict[str, nn.Module] = {}
            for role in filterfalse(own.spikes, own.roles):
                trained[role] = freeze(self._train(own, role, seed, folder_of(folder, seed, role), data, trained))
            return trained

    def _student(
        self, recipe: Recipe, role: str, seed: int, folder: Path, data: DataSet, others: Mapping[str, nn.Module]
    ) -> nn.Module:
        """A student, trained in a folder of `folder`; a student that teaches it is trained there before."""
        teaching = recipe.teacher_of(role)
        if teaching is not None and recipe.spikes(teaching):
            others = {**others, teaching: freeze(self._student(recipe, teaching, seed, folder, data, others))}
        return self._train(recipe, role, seed, folder_of(folder, seed, role), data, others)

    def _train(
        self, recipe: Recipe, role: str, seed: int, folder: Path, data: DataSet, others: Mapping[str, nn.Module]
    ) -> nn.Module:
        teaching, beginning = recipe.teacher_of(role), recipe.beginning_of(role)
        asked = None if teaching is None else others[teaching]
        known = not recipe.spikes(role) and (folder / CHECKPOINT).exists()  # of an earlier trial: nothing to show
        watcher = silent if known else self._watcher
        shown = watcher(f"seed {seed} · {role}", recipe.training(role).epochs, len(data.train_labels))
        with as_taught_by(recipe, role, asked, data) as teacher, shown as watch:
            return train(
                recipe,
                role,
                seed,
                folder,
                data=data,
                teacher=teacher,
                source=None if beginning is None else others[beginning],
                resume=True,
                fabric=self._fabric,
                watch=watch,
            )


def _for_its_teacher(recipe: Recipe) -> Recipe:
    """Only what a teacher depends on; the rest is the same in every trial, so that one teacher serves all."""
    plain = StudentSettings(name="student", training=TrainingSettings(epochs=1))
    update = {"student": (plain,), "baseline": "student", "deployed": "student", "neuron": LifSettings()}
    return recipe.model_copy(update={**update, "code": DirectCode(), "steps": recipe.data.event_frames or 1})


def _held_out(space: Space, samples: int) -> int:
    return space.settings.validation_samples or max(1, samples // 5)


def _suggested(trial: "Trial", parameter: Parameter) -> Value:
    if parameter.choices is not None:
        chosen: Value = trial.suggest_categorical(parameter.path, list(parameter.choices))  # type: ignore[assignment]
        return chosen
    low, high = parameter.low, parameter.high
    assert low is not None
    assert high is not None
    if isinstance(low, int) and isinstance(high, int):
        return int(trial.suggest_int(parameter.path, low, high, log=parameter.log))
    return float(trial.suggest_float(parameter.path, low, high, log=parameter.log))
