"""Whether a recording can be believed: it fires as trained networks do, and follows from the equations of its neurons."""

import numpy as np
from torch import nn

from checks.foreign.equations import fired
from checks.foreign.firing import LEAST, MOST
from checks.foreign.networks import STEPS, Network
from checks.foreign.recording import Recording


def checked(network: Network, module: nn.Module, recording: Recording) -> None:
    """Hold a recording against what the suite promises of it.

    Raises:
        ValueError: a layer fires less or more than a trained one, not at every step, gives what is no spike, or fires otherwise
            than its equation says of what it was given.
    """
    if not recording.spikes:
        raise ValueError(f"{network.name}: no spiking layer was recorded")
    for name, values in recording.spikes.items():
        rate = float(values.mean())
        if not LEAST <= rate <= MOST:
            raise ValueError(f"{network.name}: {name} fires {rate:.1%}, {LEAST:.0%} to {MOST:.0%} expected")
        if values.shape[0] != STEPS:
            raise ValueError(f"{network.name}: {name} has {values.shape[0]} steps, {STEPS} expected")
        if (values != np.rint(values)).any() or values.min() < 0:
            raise ValueError(f"{network.name}: {name} gave values that are no spikes, such as {np.unique(values)[:3]}")
        if name in recording.given:
            _follows(network, module.get_submodule(name), name, recording)


def _follows(network: Network, neuron: nn.Module, name: str, recording: Recording) -> None:
    weights = {key: values.detach().numpy() for key, values in neuron.named_parameters()}
    computed = fired(type(neuron).__name__, recording.given[name], network.framework.constants(neuron), weights)
    wrong = int(np.count_nonzero(computed != recording.spikes[name]))
    if wrong:
        raise ValueError(f"{network.name}: {name} fires otherwise than its equation in {wrong:,} of {computed.size:,} values")
