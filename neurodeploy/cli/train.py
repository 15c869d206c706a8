"""Train every network of a recipe: the teacher, then its students, for each seed.

With several GPUs, or several processes on a CPU: torchrun --nproc-per-node 2 -m neurodeploy train RECIPE
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from neurodeploy.cli.choices import Device, Kernel, Output, fabric_on, leave
from neurodeploy.cli.console import err, out

EXAMPLE = "neurodeploy train digits --output runs/digits --seed 0"


def command(
    recipe: Annotated[str, typer.Argument(help="An embedded recipe's name, or a TOML file.", show_default=False)],
    output: Output = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Instead of the recipe's seeds; repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was interrupted.")] = False,
    device: Device = "auto",
    kernel: Kernel = None,
) -> None:
    from neurodeploy.cli.progress import training_bar
    from neurodeploy.evaluation import evaluate
    from neurodeploy.experiment import checkpoint_of, silent, train_all
    from neurodeploy.kernels import using
    from neurodeploy.recipe import load, with_seeds

    settings = with_seeds(load(recipe), tuple(seed or ()))
    root = output or Path("runs") / settings.name
    fabric, data = fabric_on(device, settings.precision), settings.data.load()
    first = fabric.is_global_zero
    watcher = training_bar if first else silent
    try:
        with using(kernel) if kernel else nullcontext():
            for number, role, network in train_all(settings, root, data, fabric=fabric, watcher=watcher, resume=resume):
                if first:
                    result = evaluate(network, data.test_samples.to(fabric.device), data.test_labels.to(fabric.device))
                    out.print(f"{checkpoint_of(root, number, role)}: test accuracy {result.accuracy}")
    except KeyboardInterrupt:
        err.print(f"interrupted; continue with: neurodeploy train {recipe} --output {root} --resume")
        raise typer.Exit(130) from None
    finally:
        leave(fabric)
