"""Train distilled spiking networks, export them to neuromorphic targets and account for their energy.

The public names below are imported on first use, so that `import neurodeploy` and the command line's `--help` stay fast.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("neurodeploy")

_HOME = {
    "Failure": "neurodeploy.io.errors",
    "UserError": "neurodeploy.io.errors",
    "NeuronParameters": "neurodeploy.dynamics.neurons",
    "neuron_step": "neurodeploy.dynamics.neurons",
    "evaluate": "neurodeploy.training.evaluation",
    "fold_batch_norm": "neurodeploy.graph",
    "load_checkpoint": "neurodeploy.training.checkpoint",
    "load_recipe": "neurodeploy.recipe",
    "trace": "neurodeploy.graph.tracing",
    "train": "neurodeploy.training",
}
_RENAMED = {"load_checkpoint": "load", "load_recipe": "load"}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neurodeploy' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), _RENAMED.get(name, name))
