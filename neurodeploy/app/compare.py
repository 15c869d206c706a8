"""The models that a comparison is between: of run folders, checkpoints and reports, seed by seed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from neurodeploy.app.accounting import energy_report
from neurodeploy.app.model import of_checkpoint
from neurodeploy.app.own_data import DataChoice, is_module, model_with
from neurodeploy.app.ready import located
from neurodeploy.data import DataSet
from neurodeploy.io.errors import UserError
from neurodeploy.io.imports import looking_in
from neurodeploy.io.kinds import kind_of
from neurodeploy.io.reading import text_of
from neurodeploy.recipe import Recipe, parse_json
from neurodeploy.training import checkpoint
from neurodeploy.training.checkpoint import Checkpoint
from neurodeploy.training.experiment import RECIPE, checkpoint_of
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.contest import Contender
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report import read_report
from neurodeploy_exporters.bundle import MANIFEST


class Gathering:
    """Counts models one after another; loads each data set, and counts each teacher, once.

    Args:
        profiles: of the reports.
        host: profile of the host.
        choice: data on which all are counted; None: each on its own.
    """

    def __init__(self, profiles: Sequence[str], host: str, choice: DataChoice | None = None) -> None:
        self._profiles, self._host, self._choice = tuple(profiles), host, choice
        self._costs = tuple(load(name) for name in profiles)
        self._data: dict[str, DataSet] = {}
        self._reports: dict[Path, Account] = {}

    def contenders(self, paths: Sequence[Path]) -> list[Contender]:
        """One for each model, with a report for each of its seeds.

        - A run folder has its students, each with all its seeds; its teacher, if it is the students' own definition with ReLU,
          is their dense twin.
        - A checkpoint is one seed of its recipe's network.
        - A `report.json` is one seed of the model that it names, and one of its baseline; the same counts of one name, such as
          those of a baseline that two reports share, are one seed.
        - A torch module, `package.module:name`, or an ONNX, NIR or `.net` file is one seed; the choice says on which data.
        - A bundle is one seed, on the choice or on its own sample.

        Args:
            paths: in the order of the tables.

        Raises:
            UserError: one of them is none of these, or occurs twice.
        """
        counted: dict[str, list[Account]] = {}
        paths = [Path(located(path)) for path in paths]
        if len(set(map(Path.resolve, paths))) != len(paths):
            raise UserError(f"{', '.join(map(str, paths))}: one of them occurs twice, each once expected")
        folders = sum(path.is_dir() and not (path / MANIFEST).is_file() for path in paths)
        alive = {role for path in paths if path.is_dir() for role in _roles(path)}
        for path in paths:
            if (path / MANIFEST).is_file():
                counted.setdefault(str(path), []).append(self._chosen(str(path)))
            elif path.is_dir():
                for role, report in self._of_run(path):
                    counted.setdefault(role if folders == 1 else f"{_name(path)}/{role}", []).append(report)
            elif is_module(str(path)) or path.suffix in _FILES:
                counted.setdefault(str(path), []).append(self._chosen(str(path)))
            elif path.suffix == ".json":
                if self._choice is not None:
                    raise UserError(f"{path}: a report of what was counted then; leave it out, or --data")
                for report in self._of_file(path):
                    name = report.name if report.name not in alive else f"{report.name} ({path})"
                    if not any(map(partial(_same_counts, report), counted.get(name, ()))):
                        counted.setdefault(name, []).append(report)
            else:
                loaded = checkpoint.load(path)
                name = loaded.progress.title
                counted.setdefault(name, []).append(self._counted(path, loaded))
        return [Contender(name, tuple(reports)) for name, reports in counted.items()]

    def _of_run(self, folder: Path) -> list[tuple[str, Account]]:
        recipe = _recipe(folder)
        counted = []
        for seed in recipe.seeds:
            for student in recipe.student:
                path = checkpoint_of(folder, seed, student.name)
                if not path.is_file():
                    continue
                twin, dense = None, recipe.dense_twin(student.name)
                if dense is not None and (relu := checkpoint_of(folder, seed, dense)).is_file():
                    twin = self._counted(relu, checkpoint.load(relu))
                counted.append((student.name, self._counted(path, checkpoint.load(path), twin)))
        if not counted:
            raise UserError(f"{folder}: no checkpoint of a student found; train one with: neurodeploy train")
        return counted

    def _of_file(self, path: Path) -> list[Account]:
        report = read_report(path)
        both = [report] if report.comparison is None else [report, report.comparison.baseline]
        return [replace(one, profiles=self._costs, host=load(self._host), comparison=None) for one in both]

    def _counted(self, path: Path, loaded: Checkpoint, twin: Account | None = None) -> Account:
        if path not in self._reports and self._choice is not None:
            self._reports[path] = self._chosen(str(path), twin)
        if path not in self._reports:
            settings = loaded.progress.data_set
            key = "" if settings is None else f"{kind_of(settings)} {settings.model_dump_json()}"
            if key not in self._data:
                self._data[key] = loaded.load_data()
            model = of_checkpoint(loaded, data=self._data[key])
            assert model.test_samples is not None
            self._reports[path] = energy_report(model, model.test_samples, self._profiles, host=self._host, twin=twin)
        return self._reports[path]

    def _chosen(self, source: str, twin: Account | None = None) -> Account:
        """A model on the data that were chosen."""
        model = model_with(source, self._choice or DataChoice())
        if model.test_samples is None:
            raise UserError(f"{source}: no data of its own; give --data, or --input and --labels")
        return energy_report(model, model.test_samples, self._profiles, host=self._host, twin=twin)


_FILES = (".onnx", ".nir", ".net", ".circuit")


def _same_counts(one: Account, other: Account) -> bool:
    return (one.samples, one.steps, one.layers, one.places) == (other.samples, other.steps, other.layers, other.places)


def _roles(folder: Path) -> list[str]:
    """The students of a run folder, which are counted anew."""
    return [student.name for student in _recipe(folder).student] if (folder / RECIPE).is_file() else []


def _recipe(folder: Path) -> Recipe:
    path = folder / RECIPE
    if not path.is_file():
        raise UserError(f"{folder}: no {RECIPE} there; the folder of a run (neurodeploy run, neurodeploy train) is expected")
    with looking_in(folder.resolve()):
        return parse_json(text_of(path, f"the {RECIPE} of a run"), origin=str(path))


def _name(folder: Path) -> str:
    return folder.resolve().name
