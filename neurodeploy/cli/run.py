"""The main job end to end: teacher, distilled student, bundles, verification, energy report against the baseline."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from neurodeploy.cli.choices import Allocator, AsJson, Device, Kernel, Output, computing
from neurodeploy.cli.console import err, out, print_json
from neurodeploy.io.errors import UserError

EXAMPLE = "neurodeploy run digits --output runs/demo"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.")] = "digits",
    output: Output = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Instead of the recipe's seeds; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    device: Device = "auto",
    kernel: Kernel = None,
    allocator: Allocator = "auto",
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.progress import training_bar
    from neurodeploy.app.run import SUMMARY, run
    from neurodeploy.recipe import load, with_seeds
    from neurodeploy.training.parallel import fabric_on, processes

    settings = with_seeds(load(recipe), tuple(seed or ()))
    root = output or Path("runs") / settings.name
    if processes() > 1:
        raise UserError("run: exports and reports are made in one process; train with torchrun first, then `run --resume`")
    fabric = fabric_on(device, settings.precision)
    try:
        with computing(kernel, allocator):
            content = run(settings, root, fabric=fabric, watcher=training_bar, say=err.print, resume=resume)
    except KeyboardInterrupt:
        err.print(f"interrupted; continue with: neurodeploy run {recipe} --output {root} --resume")
        raise typer.Exit(130) from None
    if as_json:
        print_json((root / SUMMARY).read_text("utf-8"))
        return
    out.print(_table(content, {"baseline": settings.baseline, "student": settings.deployed}))
    out.print(f"report: {root / 'report.html'}\nsummary: {root / 'summary.json'}")


def _table(content: dict[str, Any], names: dict[str, str]) -> Table:
    deployed = content["deployed"]
    pair = f"{deployed['chip_profile']} + {deployed['host_profile']}"
    table = Table("", "test accuracy", "spikes per sample", f"µJ per sample as deployed ({pair}, estimate)")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("teacher", _value(content["teacher"], "accuracy", " %"), "", "")
    for role, name in names.items():
        accuracy = _value(content[role], "accuracy", " %")
        spikes = _value(content[role], "spikes_per_sample")
        table.add_row(name, accuracy, spikes, _value(deployed, f"{role}_uj"))
    return table


def _value(section: dict[str, Any], key: str, unit: str = "") -> str:
    half = section[f"{key}_interval"]
    if section[key] is None:
        return "no price"
    return f"{_number(section[key], 4)}{unit}" + ("" if half is None else f" ± {_number(half, 2)}")


def _number(value: float, digits: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"
