"""From a torch module to a graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.graph.graph import Graph
from neurodeploy.graph.ops import Shape
from neurodeploy.graph.tracing.entrance import Entrance, entrance_of
from neurodeploy.graph.tracing.following import follow
from neurodeploy.graph.tracing.recording import Recording
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError

_STEPS = 5


def trace(
    network: nn.Module,
    sample_shape: Shape | Sequence[Shape],
    *,
    timed: bool = False,
    entrance: Entrance | None = None,
    length: int = _STEPS,
) -> Graph:
    """Turn a torch module into a graph, with the weights that it has now, as it computes in evaluation mode.

    The module runs twice on random samples and is recorded (see `neurodeploy.graph.tracing.recording`); a graph that differs
    from run to run is refused. `neurodeploy.graph.agreement.check_agreement` compares it with the module on real samples.

    The module may return a `NetworkOutput` (its logits are the graph's output), a tensor `[B, K]`, or several of them.

    Args:
        network: in torch; layers of the toolkit are nodes as a whole.
        sample_shape: `(C, H, W)`, `(C, L)` or `(N,)` of one sample; one for each input of a module that takes several.
        timed: True if the module is called with sequences, `[T, B, *sample_shape]`, or `[B, T, *sample_shape]` where it
            begins with an `EventInput`; the graph's input is `[T, B, *sample_shape]` then.
        entrance: how the module takes its samples, if it is otherwise.
        length: T of the random sequences.

    Raises:
        UserError: the module does something that has no form in a graph, or depends on more than the samples; the message
            names the layer.
    """
    return traced(network, sample_shape, timed=timed, entrance=entrance, length=length).graph


def traced(
    network: nn.Module,
    sample_shape: Shape | Sequence[Shape],
    *,
    timed: bool = False,
    entrance: Entrance | None = None,
    length: int = _STEPS,
) -> Recording:
    """`trace`, with what else the run says, such as which of the module's tensors are no answers of the graph."""
    entrance = entrance_of(network, timed=timed) if entrance is None else entrance
    shapes: list[Any] = [tuple(one) for one in sample_shape if isinstance(one, Sequence)] or [sample_shape]
    generator = torch.Generator().manual_seed(0)
    recordings = []
    for batch in (2, 3):
        sizes = (entrance.steps or length, batch) if entrance.timed else (batch,)
        samples = tuple(_as_taken(network, torch.rand(*sizes, *shape, generator=generator)) for shape in shapes)
        recordings.append(follow(network, samples, entrance))
    found = differences(*(one.graph for one in recordings))
    if found:
        raise UserError(
            f"{type(network).__name__}: computes something else for other samples, or in every run ({found[0]}): its forward "
            "must be a fixed sequence of layers, without a state that stays, random values, or branches that depend on values"
        )
    return recordings[0]


def _as_taken(network: nn.Module, samples: Tensor) -> Tensor:
    """On the device of the module's weights."""
    weight = next(network.parameters(), None)
    return samples if weight is None else samples.to(weight.device)
