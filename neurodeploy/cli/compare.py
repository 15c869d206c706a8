"""Accuracy against energy over runs and seeds: the students of run folders, checkpoints, and reports, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import AsJson, Data, DataPart, Inputs, Labels, Output
from neurodeploy.cli.console import out, print_json

EXAMPLE = "neurodeploy compare runs/demo --output runs/comparison"


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, checkpoints, bundles, report.json files of `energy` and `run`, or with --data, or --input and "
            "--labels: ONNX, NIR and .net files, and package.module:name.",
            show_default=False,
        ),
    ],
    baseline: Annotated[
        str | None, typer.Option(help="Name of the model that the others are compared with; the first if not given.")
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="Energy profile, by name or TOML path, +lemaire or +hierarchy with memory; the first is the headline."
        ),
    ] = None,
    data: Data = None,
    part: DataPart = "test",
    inputs: Inputs = None,
    labels: Labels = None,
    host_profile: Annotated[
        str, typer.Option(help="Energy profile of the host, which runs what is before and behind a chip.")
    ] = "cmos45-fp32+lemaire",
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.compare import Gathering
    from neurodeploy.app.own_data import DataChoice
    from neurodeploy_energy.price.contest import contest
    from neurodeploy_energy.report.formats import drawn
    from neurodeploy_energy.report.report import PROFILES
    from neurodeploy_energy.report.versus import all_tables, write_contest
    from neurodeploy_energy.report.versus import as_json as document

    choice = DataChoice(data, part, inputs, labels)
    given = choice != DataChoice()
    gathering = Gathering(tuple(profile or PROFILES), host_profile, choice if given else None)
    comparison = contest(gathering.contenders(runs), baseline=baseline)
    if output is not None:
        facts = {
            "Compared": ", ".join(map(str, runs)),
            "Networks": "checkpoints are counted as they were trained; a report.json has its model as it was counted then",
        }
        paths = write_contest(comparison, output, title=f"Comparison with {comparison.baseline.name}", facts=facts)
    if as_json:
        print_json(document(comparison))
        return
    for table in all_tables(comparison):
        out.print(drawn(table))
    if output is not None:
        out.print(f"comparison: {paths['html']}")
