"""Train every network of a recipe: the teacher, then its students, for each seed.

With several GPUs, or several processes on a CPU: torchrun --nproc-per-node 2 -m neurodeploy train RECIPE
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from neurodeploy.cli.choices import Allocator, Device, Kernel, Output, computing
from neurodeploy.cli.console import err, out

if TYPE_CHECKING:
    from neurodeploy.training.results import Results

EXAMPLE = "neurodeploy train digits --output runs/digits --seed 0"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.", show_default=False)],
    output: Output = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Instead of the recipe's seeds; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    device: Device = "auto",
    kernel: Kernel = None,
    allocator: Allocator = "default",
) -> None:
    from neurodeploy.app.accounting import energy_of
    from neurodeploy.cli.console import training_bar
    from neurodeploy.recipe import load, with_seeds
    from neurodeploy.training import leave
    from neurodeploy.training.evaluation import evaluate
    from neurodeploy.training.experiment import checkpoint_of, silent, train_all
    from neurodeploy.training.parallel import fabric_on
    from neurodeploy.training.results import RESULTS, NetworkResult, Results, write

    settings = with_seeds(load(recipe), tuple(seed or ()))
    root = output or Path("runs") / settings.name
    fabric = fabric_on(device, settings.precision)
    first = fabric.is_global_zero
    try:
        data = settings.data.load()
        watcher, results = training_bar if first else silent, Results.none_yet(settings, data)
        with computing(kernel, allocator):
            for number, role, network in train_all(settings, root, data, fabric=fabric, watcher=watcher, resume=resume):
                if first:
                    samples, labels = data.test_samples.to(fabric.device), data.test_labels.to(fabric.device)
                    found = evaluate(network, samples, labels)
                    out.print(f"{checkpoint_of(root, number, role)}: test accuracy {found.accuracy}")
                    energy = energy_of(network, samples, settings.energy.profiles)
                    results = results.with_network(NetworkResult.of(settings, number, role, found, energy))
                    write(root / RESULTS, results)
    except KeyboardInterrupt:
        err.print(f"interrupted; continue with: neurodeploy train {recipe} --output {root} --resume")
        raise typer.Exit(130) from None
    finally:
        leave(fabric)
    if first:
        out.print(_table(results))
        out.print(f"results: {root / RESULTS}")


def _table(results: "Results") -> Table:
    from neurodeploy.training.results import with_interval

    recipe = results.recipe
    profile = recipe.energy.profiles[0]
    over = "" if len(recipe.seeds) == 1 else f", mean of {len(recipe.seeds)} seeds ± 95 %"
    table = Table("network", "T", f"test accuracy, %{over}", "spikes per sample", f"estimated µJ per sample, {profile}")
    for column in table.columns[1:]:
        column.justify = "right"
    for role in recipe.roles:
        relu = role in recipe.relu_roles
        spikes = "" if relu else with_interval(results.spikes(role), ",.0f")
        steps, accuracy = "" if relu else str(recipe.steps_of(role)), with_interval(results.accuracy(role), ".2f")
        energy = results.energy(role, profile)
        table.add_row(role, steps, accuracy, spikes, "" if energy is None else with_interval(energy))
    return table
