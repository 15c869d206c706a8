"""sinabs' layers compute in plain torch, and are followed as they are; what they keep between calls is reset first."""

from typing import Any

from neurodeploy.graph.tracing.opening import folds, forgets


@forgets("sinabs.layers.stateful_layer.StatefulLayer")
def _reset(layer: Any) -> None:
    layer.reset_states()


@folds("sinabs.layers.reshape.SqueezeMixin")
def _tell_squeezed(layer: Any, batch: int, steps: int) -> None:
    layer.batch_size, layer.num_timesteps = batch, steps


@folds("sinabs.layers.reshape.UnflattenTime")
def _tell_unflattening(layer: Any, batch: int, steps: int) -> None:  # noqa: ARG001 - the steps follow
    layer.batch_size = batch
