"""Trains a recipe's teacher and students in float64, alone or under torchrun: `train_in_float64.py RECIPE.toml FOLDER`."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from neurodeploy.recipe import load
from neurodeploy.training import leave
from neurodeploy.training.experiment import train_all

torch.set_default_dtype(torch.float64)
world = int(os.environ.get("WORLD_SIZE", "1"))
strategy = DDPStrategy(process_group_backend="gloo") if world > 1 else "auto"
fabric = Fabric(accelerator="cpu", devices=world, strategy=strategy, precision="64-true")
fabric.launch()
recipe = load(sys.argv[1])
data = recipe.data.load()
data = replace(data, train_samples=data.train_samples.double(), test_samples=data.test_samples.double())
resume = Path(sys.argv[2]).exists()
try:
    list(train_all(recipe, Path(sys.argv[2]), data, fabric=fabric, resume=resume))
finally:
    leave(fabric)
