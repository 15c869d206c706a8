"""Replay the artefacts of a bundle and compare every spike and logit with its sample; exit code 1 if anything differs."""

import json
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.console import out
from neurodeploy.io.errors import Failure

EXAMPLE = "neurodeploy verify runs/demo/seed-0/bundles/onnx"


def command(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    from neurodeploy_exporters.verify import verify

    outcome = verify(bundle)
    if as_json:
        answer = {
            "bundle": str(bundle),
            "passed": outcome.passed,
            "spikes_compared": outcome.spikes_compared,
            "mismatched_spikes": outcome.mismatched_spikes,
            "logits_max_difference": outcome.logits_max_difference if isfinite(outcome.logits_max_difference) else None,
            "findings": list(outcome.findings),
        }
        out.print_json(json.dumps(answer))
    else:
        table = Table("spiking layer", "mismatched spikes")
        table.columns[1].justify = "right"
        for layer, count in outcome.mismatched_spikes.items():
            table.add_row(layer, "–" if count is None else f"{count:,}")
        out.print(table)
        logits = (
            f"logits differ by {outcome.logits_max_difference:.2g} at most" if outcome.spikes_compared else "no logits either"
        )
        out.print(f"{outcome.spikes_compared:,} spike values compared; {logits}")
        for finding in outcome.findings:
            out.print(f"differs: {finding}")
    if not outcome.passed:
        raise Failure(f"{bundle}: not verified, {len(outcome.findings)} findings")
    if not as_json:
        out.print(f"{bundle}: verified")
