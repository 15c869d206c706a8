"""Replay the artefacts of a bundle and compare every spike and logit with its sample; exit code 1 if anything differs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out
from neurodeploy.io.errors import Failure

EXAMPLE = "neurodeploy verify runs/demo/seed-0/bundles/onnx"


def command(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    from neurodeploy_exporters.verify import verify

    outcome = verify(bundle)
    if as_json:
        out.print_json(json.dumps({"bundle": str(bundle), **outcome.as_document()}))
    else:
        out.print(str(outcome))
    if not outcome.passed:
        raise Failure(f"{bundle}: not verified, {len(outcome.findings)} findings")
    if not as_json:
        out.print(f"{bundle}: verified")
