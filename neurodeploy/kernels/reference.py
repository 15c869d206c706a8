"""The multi-step update as a plain loop over time, differentiated by autograd: slow, and right by construction."""

import torch
from torch import Tensor

from neurodeploy.neurons import NeuronParameters, neuron_step
from neurodeploy.surrogate import Surrogate, spike


def multi_step(current: Tensor, v0: Tensor, parameters: NeuronParameters, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
    """Run `neuron_step` over the first axis.

    Args:
        current: input current, `[T, …]`.
        v0: membrane potential before the first step, `[…]`.
        parameters: constants of the neuron.
        surrogate: stands in for the derivative of the spike.

    Returns:
        spikes `[T, …]` and the membrane potential after the last step `[…]`.
    """
    v, spikes = v0, []
    for current_t in current.unbind(0):
        s, v = neuron_step(v, current_t, parameters, lambda h, threshold: spike(h, threshold, surrogate))
        spikes.append(s)
    return torch.stack(spikes), v
