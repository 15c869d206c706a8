"""snnTorch's neurons compute in plain torch, and are followed as they are; those that keep their state are reset first."""

from typing import Any

from neurodeploy.graph.tracing.opening import forgets


@forgets("snntorch._neurons.neurons.SpikingNeuron")
def _reset(layer: Any) -> None:
    if getattr(layer, "init_hidden", False):
        layer.reset_mem() if hasattr(layer, "reset_mem") else layer.reset_hidden()
