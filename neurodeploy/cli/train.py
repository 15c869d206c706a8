"""Train every network of a recipe: the teacher, then its students, for each seed.

With several GPUs, or several processes on a CPU: torchrun --nproc-per-node 2 -m neurodeploy train RECIPE
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from neurodeploy.cli.choices import Allocator, AsJson, Device, Kernel, Output, computing
from neurodeploy.cli.console import err, out, print_json

EXAMPLE = "neurodeploy train digits --output runs/digits --seed 0"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.", show_default=False)],
    output: Output = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Instead of the recipe's seeds; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    device: Device = "auto",
    kernel: Kernel = None,
    allocator: Allocator = "auto",
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.progress import training_bar
    from neurodeploy.app.train import train_recipe
    from neurodeploy.recipe import load, with_seeds
    from neurodeploy.training.parallel import fabric_on
    from neurodeploy.training.results import RESULTS

    settings = with_seeds(load(recipe), tuple(seed or ()))
    root = output or Path("runs") / settings.name
    fabric = fabric_on(device, settings.precision)
    say = err.print if as_json else out.print
    try:
        with computing(kernel, allocator):
            results = train_recipe(settings, root, fabric=fabric, watcher=training_bar, say=say, resume=resume)
    except KeyboardInterrupt:
        err.print(f"interrupted; continue with: neurodeploy train {recipe} --output {root} --resume")
        raise typer.Exit(130) from None
    if not fabric.is_global_zero:
        return
    if as_json:
        print_json(results.model_dump_json(indent=2) + "\n")
        return
    table = Table(*results.headings)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in results.rows():
        table.add_row(*row)
    out.print(table)
    out.print(f"results: {root / RESULTS}")
