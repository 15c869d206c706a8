"""Write checkpoints, bundles and run folders of an earlier version again in today's form: same weights, same settings."""

import json
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out

EXAMPLE = "neurodeploy upgrade runs/old"


def command(
    path: Annotated[
        Path,
        typer.Argument(
            help="A run or bundle's folder, or a checkpoint, recipe.json, results.json or manifest.json.", show_default=False
        ),
    ],
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.upgrade import upgrade

    done = []
    for sentence in upgrade(path):
        done.append(sentence)
        if not as_json:
            out.print(sentence)
    if as_json:
        out.print_json(json.dumps({"path": str(path), "files": done}))
