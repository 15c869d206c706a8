"""Modules that the guides of version 0.1 showed, and where their names are now; they go with the next version."""

_NODES = (
    "Input Encode Conv Linear BatchNorm Neuron LowPass Delay FixedPointNeuron Relu AvgPool MaxPool Flatten Add TimeMean Output"
)

HOMES = {
    f"neurodeploy.{old}": tuple(homes.split())
    for old, homes in {
        "accounting": "neurodeploy.app.accounting",
        "checkpoint": "neurodeploy.training.checkpoint",
        "data.settings": "neurodeploy.data.dataset",
        "deployment": "neurodeploy.app.deployment",
        "encoding": "neurodeploy.dynamics.encodings",
        "errors": "neurodeploy.io.errors",
        "evaluation": "neurodeploy.training.evaluation",
        "experiment": "neurodeploy.training.experiment",
        "files": "neurodeploy.io.files",
        "finetuning": "neurodeploy.app.finetune",
        "graph.comparing": "neurodeploy.graph.transforms",
        "graph.nodes": "neurodeploy.graph.ops",
        "job": "neurodeploy.app.run",
        "kernels": "neurodeploy.dynamics.kernels",
        "layers": "neurodeploy.dynamics.layers",
        "models": "neurodeploy.app.model",
        "networks.activation": "neurodeploy.networks.definition",
        "networks.output": "neurodeploy.networks.definition",
        "networks.settings": "neurodeploy.networks.definition",
        "neurons": "neurodeploy.dynamics.neurons",
        "resultfigures": "neurodeploy.training.results",
        "results": "neurodeploy.training.results",
        "summary": "neurodeploy.app.summary neurodeploy_exporters.target",
        "surrogate": "neurodeploy.dynamics.surrogates",
        "targets": "neurodeploy_exporters.target neurodeploy.app.deployment",
    }.items()
} | {
    "neurodeploy_exporters.artefact": ("neurodeploy_exporters.verify.artefact",),
    "neurodeploy_exporters.lava.mapping.document": ("neurodeploy_exporters.lava.mapping.result",),
    "neurodeploy_exporters.lava.mapping.opening": ("neurodeploy_exporters.lava.reading",),
}
NAMES = {
    "neurodeploy.accounting": {"account": "energy_report"},
    "neurodeploy.graph.nodes": {name: f"{name}Node" for name in _NODES.split()},
    "neurodeploy.networks.activation": {"Spiking": "SpikingActivations"},
}
