"""sinabs' layers compute in plain torch, and are followed as they are; what they keep between calls is reset first."""

from typing import Any

from neurodeploy.graph.tracing.opening import forgets


@forgets("sinabs.layers.stateful_layer.StatefulLayer")
def _reset(layer: Any) -> None:
    layer.reset_states()
