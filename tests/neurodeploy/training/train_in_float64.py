"""Trains a recipe's teacher and students in float64, in one process or several: `train_in_float64.py RECIPE.toml`.

Each line of the standard input is a number of processes and a folder. Answered are the numbers of the processes, and at their
end whether they ended well.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from neurodeploy.recipe import load
from neurodeploy.training import leave
from neurodeploy.training.experiment import train_all

sys.path.insert(0, str(Path(__file__).parents[2] / "own"))
from ranks import ended_well, start

torch.set_default_dtype(torch.float64)
recipe = load(sys.argv[1])
stored = recipe.data.load()
data = replace(stored, train_samples=stored.train_samples.double(), test_samples=stored.test_samples.double())


def train(folder: Path, world: int) -> None:
    strategy = DDPStrategy(process_group_backend="gloo") if world > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=world, strategy=strategy, precision="64-true")
    fabric.launch()
    try:
        list(train_all(recipe, folder, data, fabric=fabric, resume=folder.exists()))
    finally:
        leave(fabric)


for line in sys.stdin:
    world, folder = line.rstrip("\n").split(" ", 1)
    pids = start(int(world), partial(train, Path(folder), int(world)))
    print(*pids, flush=True)
    print("well" if ended_well(pids) else "failed", flush=True)
