"""Write a small project that runs: a recipe, a data set, a network and a loss term of your own, and their test."""

import json
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import write_text, writing

EXAMPLE = "neurodeploy new my-project"

_TEMPLATES = resources.files("neurodeploy") / "templates"
_SUFFIX = ".txt"
"""Of a template, which is none of the package's modules."""


def command(
    folder: Annotated[Path, typer.Argument(help="To be made; must be empty if it exists.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "a folder that is not empty" if folder.is_dir() else "a file"
        raise UserError(f"{folder}: {what} found, a new or empty folder expected; choose another name")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    templates = sorted((entry for entry in _TEMPLATES.iterdir() if entry.name.endswith(_SUFFIX)), key=lambda entry: entry.name)
    files = [folder / entry.name.removesuffix(_SUFFIX) for entry in templates]
    for path, entry in zip(files, templates, strict=True):
        write_text(path, entry.read_text("utf-8"))
    if as_json:
        out.print_json(json.dumps({"folder": str(folder), "files": [path.name for path in files]}))
        return
    out.print(f"{folder}: {', '.join(path.name for path in files)}")
    out.print(f"next: cd {folder} && neurodeploy run recipe.toml --output runs/first")
