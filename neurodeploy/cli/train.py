"""Train every network of a recipe: the teacher, then its students, for each seed."""

from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import Device, Output, fabric_on
from neurodeploy.cli.console import err, out

EXAMPLE = "neurodeploy train digits --output runs/digits --seed 0"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.", show_default=False)],
    output: Output = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Instead of the recipe's seeds; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    device: Device = "auto",
) -> None:
    from neurodeploy.cli.progress import training_bar
    from neurodeploy.evaluation import evaluate
    from neurodeploy.experiment import checkpoint_of, train_all
    from neurodeploy.recipe import load, with_seeds

    settings = with_seeds(load(recipe), tuple(seed or ()))
    root = output or Path("runs") / settings.name
    fabric, data = fabric_on(device), settings.data.load()
    try:
        for number, role, network in train_all(settings, root, data, fabric=fabric, watcher=training_bar, resume=resume):
            result = evaluate(network, data.test_samples.to(fabric.device), data.test_labels.to(fabric.device))
            out.print(f"{checkpoint_of(root, number, role)}: test accuracy {result.accuracy}")
    except KeyboardInterrupt:
        err.print(f"interrupted; continue with: neurodeploy train {recipe} --output {root} --resume")
        raise typer.Exit(130) from None
