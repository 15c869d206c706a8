"""Files of an earlier version, written again as this one writes them: the same weights and settings in today's form."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from neurodeploy.app import finetune
from neurodeploy.io import tensors
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import sole_writer, write_text
from neurodeploy.io.imports import looking_in
from neurodeploy.io.reading import text_of
from neurodeploy.recipe import parse_json
from neurodeploy.training import checkpoint, results
from neurodeploy.training.experiment import RECIPE
from neurodeploy.training.results import RESULTS
from neurodeploy_energy import read_report
from neurodeploy_exporters.bundle import MANIFEST
from neurodeploy_exporters.verify.conversion import convert

_REPORT = "report.json"
_Groups = dict[str, dict[str, Tensor]]
_Reading = Callable[[Path], tuple[BaseModel, _Groups]]
_KEYS: dict[str, _Reading] = {
    "neurodeploy": checkpoint.read,
    finetune.KEY: lambda path: tensors.read(path, finetune.KEY, finetune.FinetuneProgress.model_validate_json),
}
"""What a checkpoint's header is called → how it is read."""


def upgrade(path: Path) -> Iterator[str]:
    """Write a file, or those in a run folder that are of an earlier version, again.

    Nothing is changed but the form: what would be read back is compared with what was read, before anything is replaced.

    Args:
        path: a checkpoint, `results.json`, `recipe.json` or a bundle's `manifest.json`; or a folder with such files.

    Yields:
        A sentence for each file, once it is done.

    Raises:
        UserError: there is no such file, or one cannot be read.
        Failure: what would be written is not what was read; the file is left as it was.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; a run folder or a file of an earlier version expected")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [(file, rewrite) for file in files if (rewrite := _kind(file)) is not None]
    if not found:
        raise UserError(f"{path}: nothing that this toolkit writes; a checkpoint, run folder, report or bundle expected")
    for file, rewrite in found:
        with sole_writer(file.parent):
            yield f"{file}: {rewrite(file)}"


def _kind(path: Path) -> Callable[[Path], str] | None:
    if not path.is_file() or path.name.startswith("."):
        return None
    named = {RECIPE: _recipe, RESULTS: _results, _REPORT: _report, MANIFEST: _bundle}
    return _checkpoint if path.suffix == ".safetensors" else named.get(path.name)


def _checkpoint(path: Path) -> str:
    for key, read in _KEYS.items():
        text = tensors.header_text(path, key)
        if text is None:
            continue
        header, groups = read(path)
        if json.loads(text) == json.loads(header.model_dump_json()):
            return "as it is"
        tensors.write(path, key, header, groups, check=partial(_check_same, path, header, groups, read))
        return "checkpoint written again"
    return "weights of somebody else's, as they are"


def _check_same(path: Path, header: BaseModel, groups: _Groups, read: _Reading, written: Path) -> None:
    with tensors.looking_beside(path):
        again, others = read(written)
    first, second = (
        {(group, name): value for group, members in one.items() for name, value in members.items()} for one in (groups, others)
    )
    same = first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())
    if again != header or not same:
        raise Failure(f"{path}: would not be the same afterwards; left as it was, please report it")


def _recipe(path: Path) -> str:
    with looking_in(path.resolve().parent):
        text = text_of(path, f"the {RECIPE} of a run")
        recipe = parse_json(text, origin=str(path))
        made = recipe.model_dump_json(indent=2) + "\n"
        return _replaced(path, text, made, same=parse_json(made, origin=str(path)) == recipe)


def _results(path: Path) -> str:
    read = results.read(path)
    made = read.model_dump_json(indent=1) + "\n"
    with looking_in(path.resolve().parent):
        same = results.Results.model_validate_json(made) == read
    return _replaced(path, text_of(path, RESULTS), made, same=same)


def _report(path: Path) -> str:
    read_report(path)
    version = json.loads(text_of(path, "a report")).get("schema_version")
    return f"report of schema version {version}, read as it is; `neurodeploy energy` counts its model anew"


def _bundle(path: Path) -> str:
    if not convert(path.parent):
        return "as it is"
    return (
        "bundle converted from schema version 2: its files spike as its sample does, and have a digest and sums now; what was "
        "changed in them before and does not show cannot be known"
    )


def _replaced(path: Path, before: str, after: str, *, same: bool) -> str:
    if json.loads(before) == json.loads(after):
        return "as it is"
    if not same:
        raise Failure(f"{path}: would not be the same afterwards; left as it was, please report it")
    write_text(path, after)
    return "written again"
