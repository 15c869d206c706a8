"""Fresh weights with which every layer has something to say: currents that neither die out nor explode with depth."""

from math import prod, sqrt

from torch import nn

from neurodeploy.layers import Neuron
from neurodeploy.networks.activation import Activations

_AFTER_A_POOL = 1.5


def initialise(network: nn.Module, activations: Activations, *, normalised: bool) -> None:
    """Draw the weights of all layers but the classifier, which keeps torch's own initialisation, as batch norms do.

    - Convolutions with a batch norm: Kaiming normal, `std² = 2 / (k² C_out)`, as in the public code of EnOF-SNN's authors. The
      batch norm undoes their scale.
    - Layers without, in a ReLU network: Kaiming normal, `std² = 2 / fan_in`.
    - Layers without, in a spiking network of threshold θ: `std = 3 θ / √fan_in`. Spikes of rate r then make currents of
      deviation `3 θ √r`, and `r = P(N(0, 9 θ² r) > θ)` is stable at r ≈ 1/4: a layer that is fed at that rate fires at that
      rate. Kaiming's would let the spikes of thresholds of 1 and more die within a few layers. Our working form.
    - The two above are 1.5 times as large behind an average pool, whose mean of four independent spikes of rate 1/4, or of four
      rectified normal values, has about 1/1.5² of their power. Our working form.

    Biases of linear layers start at 0.

    Args:
        network: with its classifier at `network.classifier`, and its layers in the order of computation.
        activations: what the network was built with.
        normalised: whether a batch norm follows each convolution.
    """
    probe = activations.make()
    gain = 3 * probe.constants.threshold if isinstance(probe, Neuron) else sqrt(2)
    pooled = False
    for module in network.modules():
        pooled = pooled or isinstance(module, nn.AvgPool2d)
        if module is network.classifier or not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            continue
        if normalised and not isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            scale = gain * (_AFTER_A_POOL if pooled else 1)
            nn.init.normal_(module.weight, 0.0, scale / sqrt(prod(module.weight.shape[1:])))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        pooled = False
