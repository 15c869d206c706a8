"""Compare two bundles: manifests, files, layers, and where what they fire differs first; exit code 1 if anything differs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out
from neurodeploy.io.errors import Failure

EXAMPLE = "neurodeploy diff runs/demo/seed-0/bundles/onnx runs/other/seed-0/bundles/onnx"


def command(
    one: Annotated[Path, typer.Argument(help="A bundle's folder; both run on its sample.", show_default=False)],
    other: Annotated[Path, typer.Argument(help="Another bundle's folder.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    from neurodeploy_exporters.verify.diff import diff

    found = diff(one, other)
    if as_json:
        out.print_json(json.dumps({"one": str(one), "other": str(other), **found.as_document()}))
    else:
        out.print(str(found))
    if not found.same:
        raise Failure(f"{one} and {other} differ")
