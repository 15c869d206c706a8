"""The multi-step updates as plain loops over time, differentiated by autograd: slow, and right by construction."""

import torch
from torch import Tensor

from neurodeploy.dynamics.neurons import Dynamics, neuron_step, synapse_step
from neurodeploy.dynamics.surrogates import Surrogate, spike


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Run `neuron_step` over the first axis.

    Args:
        current: input current, `[T, …]`.
        v0: membrane potential before the first step, `[…]`.
        parameters: decay, threshold and reset; decay and threshold may be tensors of no axes, which then get gradients.
        surrogate: stands in for the derivative of the spike.
        detach_reset: no gradient flows through the spike in the reset (Zenke & Vogels 2021).

    Returns:
        spikes `[T, …]` and the membrane potential after the last step `[…]`.
    """
    v, spikes = v0, []
    for current_t in current.unbind(0):
        s, v = neuron_step(
            v,
            current_t,
            parameters,
            lambda h, threshold: spike(h, threshold, surrogate),
            Tensor.detach if detach_reset else lambda s: s,
        )
        spikes.append(s)
    return torch.stack(spikes), v


def low_pass(x: Tensor, decay: float) -> Tensor:
    """Run `synapse_step` over the first axis, from a current of 0.

    Args:
        x: weighted input spikes, `[T, …]`.
        decay: α.

    Returns:
        the synaptic current `[T, …]`.
    """
    i, currents = torch.zeros_like(x[0]), []
    for x_t in x.unbind(0):
        i = synapse_step(i, x_t, decay)
        currents.append(i)
    return torch.stack(currents)
