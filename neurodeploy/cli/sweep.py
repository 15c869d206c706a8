"""Search a recipe's settings for accuracy and little energy: Optuna, resumable, with any number of workers.

Start it again to go on, and several times at once, on one machine or many that share the storage, to search in parallel.
"""

from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import Allocator, AsJson, Device, Kernel, Output, computing
from neurodeploy.cli.console import err, out, print_json, remembered
from neurodeploy.io.errors import UserError

EXAMPLE = "neurodeploy sweep digits --trials 20 --output runs/sweep"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.", show_default=False)],
    space: Annotated[
        Path | None, typer.Option(help="TOML file with the search space, instead of the recipe's [sweep].", show_default=False)
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="In all, earlier ones included; instead of the space's own.", show_default=False)
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of a database for workers on several machines; SQLite in the output folder if not given."),
    ] = None,
    output: Output = None,
    device: Device = "auto",
    kernel: Kernel = None,
    allocator: Allocator = "auto",
    as_json: AsJson = False,
) -> None:
    from neurodeploy.app.progress import training_bar
    from neurodeploy.app.sweep import so_far, sweep
    from neurodeploy.app.sweep_report import table_of, write_sweep
    from neurodeploy.recipe.sweep import load_space
    from neurodeploy.training.parallel import fabric_on, processes
    from neurodeploy_energy.report.formats import drawn

    if processes() > 1:
        raise UserError("sweep: each worker is one process; start the command several times instead of with torchrun")
    found = load_space(recipe, space)
    base = found.recipe({})
    root = output or Path("runs") / f"{base.name}-sweep"
    fabric = fabric_on(device, base.precision)
    try:
        with computing(kernel, allocator), remembered() as check:
            outcome = sweep(
                found, root, storage=storage, trials=trials, fabric=fabric, watcher=training_bar, say=err.print, check=check
            )
    except KeyboardInterrupt:
        outcome = so_far(found, root, storage=storage)
        if outcome.found:
            write_sweep(outcome, found, root)
        err.print(f"interrupted after {len(outcome.found)} trials; go on with the same command")
        raise typer.Exit(130) from None
    paths = write_sweep(outcome, found, root)
    if as_json:
        print_json(paths["json"].read_text("utf-8"))
        return
    out.print(drawn(table_of(outcome, outcome.front, f"Pareto front of {len(outcome.found)} trials")))
    out.print(f"sweep: {paths['html']}")
