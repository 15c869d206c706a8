"""The main job end to end: teacher, distilled student, bundles, verification, energy report against the baseline."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from neurodeploy.cli.choices import Device, Output, fabric_on
from neurodeploy.cli.console import err, out

EXAMPLE = "neurodeploy run digits --output runs/demo"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.")] = "digits",
    output: Output = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Instead of the recipe's seeds; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    device: Device = "auto",
) -> None:
    from neurodeploy.cli.progress import training_bar
    from neurodeploy.job import run
    from neurodeploy.recipe import load, with_seeds

    settings = with_seeds(load(recipe), tuple(seed or ()))
    root = output or Path("runs") / settings.name
    try:
        content = run(settings, root, fabric=fabric_on(device), watcher=training_bar, say=err.print, resume=resume)
    except KeyboardInterrupt:
        err.print(f"interrupted; continue with: neurodeploy run {recipe} --output {root} --resume")
        raise typer.Exit(130) from None
    out.print(_table(content))
    out.print(f"report: {root / 'report.html'}\nsummary: {root / 'summary.json'}")


def _table(content: dict[str, Any]) -> Table:
    table = Table("", "test accuracy", "spikes per sample", f"µJ per sample ({content['energy']['profile']}, estimate)")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("teacher", _value(content["teacher"], "accuracy", " %"), "", "")
    for role in ("baseline", "student"):
        accuracy = _value(content[role], "accuracy", " %")
        spikes = _value(content[role], "spikes_per_sample")
        table.add_row(role, accuracy, spikes, _value(content["energy"], f"{role}_uj"))
    return table


def _value(section: dict[str, Any], key: str, unit: str = "") -> str:
    half = section[f"{key}_interval"]
    return f"{section[key]:,.4g}{unit}" + ("" if half is None else f" ± {half:,.2g}")
