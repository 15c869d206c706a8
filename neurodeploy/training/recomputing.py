"""Which networks a training can have computed again in its backward pass, instead of keeping their activations."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from neurodeploy.conversion.traced import TracedNetwork
from neurodeploy.io.errors import UserError
from neurodeploy.networks import LayeredNetwork


def check_recomputing(network: nn.Module, title: str) -> None:
    """Refuse classes of somebody else's: whether a second call of their layers computes the same is not known.

    Args:
        network: that is to be trained.
        title: of it, for the message.

    Raises:
        UserError: it is one.
    """
    if not isinstance(network, LayeredNetwork | TracedNetwork):
        raise UserError(
            f"{title}: recompute: for networks of this package and spiking twins, {type(network).__name__} found, whose layers "
            "may not compute the same twice; leave it out, and call torch.utils.checkpoint in its forward"
        )


@contextmanager
def recomputing(network: nn.Module) -> Iterator[None]:
    """Inside, a network that `check_recomputing` lets pass keeps its activations no more: see
    `neurodeploy.dynamics.recomputation`."""
    assert isinstance(network, LayeredNetwork | TracedNetwork)
    before, network.recompute = network.recompute, True
    try:
        yield
    finally:
        network.recompute = before
