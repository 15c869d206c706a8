"""Training every network of a recipe, and what each of them does on the test set."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from neurodeploy.app.accounting import energy_of
from neurodeploy.conversion import QcfsNetwork
from neurodeploy.data.samples import on_device
from neurodeploy.recipe import Recipe
from neurodeploy.training import leave
from neurodeploy.training.evaluation import evaluate
from neurodeploy.training.experiment import Watcher, checkpoint_of, silent, train_all
from neurodeploy.training.own_teacher import teacher_facts
from neurodeploy.training.results import RESULTS, NetworkResult, Results, write

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train_recipe(
    recipe: Recipe,
    root: Path,
    *,
    fabric: "Fabric",
    watcher: Watcher = silent,
    say: Callable[[str], None] = lambda _: None,
    resume: bool = False,
) -> Results:
    """Teacher and students for every seed; `results.json` in `root` grows with each of them.

    Args:
        recipe: the experiment.
        root: receives a folder per seed and network.
        fabric: where to train; its processes are ended.
        watcher: shows the progress.
        say: told in a sentence what has been done.
        resume: continue an interrupted run.

    Raises:
        UserError: `root` is in use, or the data cannot be read.
        Failure: see `neurodeploy.training.train`.
    """
    first = fabric.is_global_zero
    try:
        data = recipe.data.load()
        results = Results.none_yet(recipe, data)
        shown = watcher if first else silent
        for fact in teacher_facts(recipe) if first else ():
            say(fact)
        for seed, role, network in train_all(recipe, root, data, fabric=fabric, watcher=shown, resume=resume):
            if first:
                samples, labels = on_device(data.test_samples, fabric.device), data.test_labels.to(fabric.device)
                evaluation = evaluate(network, samples, labels, workers=data.workers)
                say(f"{checkpoint_of(root, seed, role)}: test accuracy {evaluation.accuracy}")
                counted = network.with_relus() if isinstance(network, QcfsNetwork) else network  # as many operations
                energy = energy_of(counted, samples, recipe.energy.profiles, host=recipe.energy.host, workers=data.workers)
                results = results.with_network(NetworkResult.of(recipe, seed, role, evaluation, energy))
                write(root / RESULTS, results)
    finally:
        leave(fabric)
    return results
