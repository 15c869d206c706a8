"""Networks of a plain function or `nn.Module` class of the user's, which is called with the settings of the table."""

from collections.abc import Callable
from typing import Any

from torch import nn

from neurodeploy.dynamics.layers import Neuron, TimeMean
from neurodeploy.io.errors import UserError
from neurodeploy.io.signatures import OfFunction, settings_of
from neurodeploy.networks.definition import Activations, LayeredNetwork, NetworkSettings


class NetworkOfFunction(OfFunction, NetworkSettings):
    """`kind = "my_module:function"`: makes a module that answers with a `NetworkOutput`, or an `nn.Sequential`.

    The function is given `in_channels`, `classes` and `activations` if it has parameters of these names (see
    `NetworkSettings.build`).
    """

    def build(self, in_channels: int, classes: int, activations: Activations) -> nn.Module:
        network = self.called(in_channels=in_channels, classes=classes, activations=activations)
        if isinstance(network, nn.Sequential):
            return layered(network, origin=self.what)
        if not isinstance(network, nn.Module):
            raise UserError(f"{self.what}: {type(network).__name__} found, a torch module expected")
        return network


def network_function(kind: str, function: Callable[..., Any]) -> type[OfFunction]:
    """Settings of a function that makes a network; see `neurodeploy.io.signatures.settings_of`."""
    ours = ("in_channels", "classes", "activations")
    return settings_of(NetworkOfFunction, kind, function, what="network", ours=ours)


def layered(sequence: nn.Sequential, *, origin: str) -> LayeredNetwork:
    """A sequence of layers as a network: its spiking and ReLU layers are taps, its last layer is the classifier.

    Args:
        sequence: over `[B, …]` → `[T, B, K]`; its layers keep their names.
        origin: for messages.

    Raises:
        UserError: the last layer is not linear.
    """
    classifier = sequence[-1] if len(sequence) else None
    if not isinstance(classifier, nn.Linear):
        found = "no layer" if classifier is None else type(classifier).__name__
        raise UserError(f"{origin}: {found} found at the end of the sequence, an nn.Linear expected, the classifier")
    network = LayeredNetwork()
    for name, layer in [*sequence.named_children()][:-1]:
        network.append(name, layer, tap=isinstance(layer, Neuron | nn.ReLU))
    network.classifier, network.readout = classifier, TimeMean()
    return network
