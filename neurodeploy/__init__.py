"""Train distilled spiking networks, export them to neuromorphic targets and account for their energy.

    import neurodeploy as nd

    student = nd.spiking(ann, samples, steps=4)                    # the spiking twin of any ReLU network
    nd.distill(student, ann, train_set, epochs=3, folder="runs/mine")
    model = nd.deploy(student, samples)                            # traced, and compared with the module
    bundle = nd.export(model, "onnx", "runs/mine/onnx", quantize="exact")
    print(nd.verify(bundle))
    print(nd.energy(model, samples, baseline=ann))
    run = nd.train("digits", "runs/digits")                        # a recipe by name or path: run["student"]

Every name is imported when it is first used, so that `import neurodeploy` and the command line's `--help` stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from neurodeploy.io.moved import renamed, stand_in
from neurodeploy.io.version import VERSION
from neurodeploy.moved import HOMES, NAMES

if TYPE_CHECKING:
    from neurodeploy import distillation as losses
    from neurodeploy.app.distil import Distilled, distill
    from neurodeploy.app.model import Model
    from neurodeploy.app.verbs import Run, compare, deploy, energy, export, load, train
    from neurodeploy.conversion import SpikingTwin, qcfs, spiking
    from neurodeploy.dynamics.layers import IF, LIF, CubaLIF, ParametricLIF
    from neurodeploy.io.errors import Failure, UserError
    from neurodeploy.training.evaluation import evaluate, predict
    from neurodeploy_exporters.verify import verify

__version__ = VERSION

_HOME = {
    "CubaLIF": "neurodeploy.dynamics.layers",
    "Distilled": "neurodeploy.app.distil",
    "Failure": "neurodeploy.io.errors",
    "IF": "neurodeploy.dynamics.layers",
    "LIF": "neurodeploy.dynamics.layers",
    "Model": "neurodeploy.app.model",
    "ParametricLIF": "neurodeploy.dynamics.layers",
    "Run": "neurodeploy.app.verbs",
    "SpikingTwin": "neurodeploy.conversion",
    "UserError": "neurodeploy.io.errors",
    "compare": "neurodeploy.app.verbs",
    "deploy": "neurodeploy.app.verbs",
    "distill": "neurodeploy.app.distil",
    "energy": "neurodeploy.app.verbs",
    "evaluate": "neurodeploy.training.evaluation",
    "export": "neurodeploy.app.verbs",
    "load": "neurodeploy.app.verbs",
    "predict": "neurodeploy.training.evaluation",
    "qcfs": "neurodeploy.conversion",
    "spiking": "neurodeploy.conversion",
    "train": "neurodeploy.app.verbs",
    "verify": "neurodeploy_exporters.verify",
}
_MODULES = {"losses": "neurodeploy.distillation"}
_BEFORE = {  # names of version 0.1
    "NeuronParameters": "neurodeploy.dynamics.neurons.NeuronParameters",
    "fold_batch_norm": "neurodeploy.graph.fold_batch_norm",
    "load_checkpoint": "neurodeploy.training.checkpoint.load",
    "load_recipe": "neurodeploy.recipe.load",
    "neuron_step": "neurodeploy.dynamics.neurons.neuron_step",
    "trace": "neurodeploy.graph.tracing.trace",
}

__all__ = [
    "IF",
    "LIF",
    "CubaLIF",
    "Distilled",
    "Failure",
    "Model",
    "ParametricLIF",
    "Run",
    "SpikingTwin",
    "UserError",
    "__version__",
    "compare",
    "deploy",
    "distill",
    "energy",
    "evaluate",
    "export",
    "load",
    "losses",
    "predict",
    "qcfs",
    "spiking",
    "train",
    "verify",
]

stand_in(HOMES, NAMES)


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # which knows every name from above, and takes no other

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(_MODULES[name])
        if name in _HOME:
            return getattr(import_module(_HOME[name]), name)
        return renamed(__name__, _BEFORE, name)
