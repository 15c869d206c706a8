"""Corrections of a balanced network: a shift against rounding down, and layer-wise calibration of biases.

Both go into biases that the network has already (of synapses or of batch norm), so the result exports like any other. Both
hold for one number of steps T: convert again for another.

Potential calibration of Li et al. 2021, and the initial potential θ/2 of Bu et al. 2022, would need neurons that start from a
potential other than 0; those of this toolkit and of its exports all start from 0. After the last of T steps, `shift` has
added θ/2 to the potential as well.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from neurodeploy.conversion.thresholds import Probe
from neurodeploy.conversion.units import Units
from neurodeploy.graph.ops import Node
from neurodeploy.io.errors import UserError


@torch.no_grad()
def shift(units: Units, layer: Node, threshold: float, steps: int) -> None:
    """Add `θ / (2 T)` to the current of a spiking layer at every step.

    After T steps an IF neuron's rate is its mean current in units of θ, rounded *down* to a multiple of 1/T; with the shift,
    to the nearest. Printed: Deng & Gu 2021 (figure 1), and in the code of Li et al. 2021.

    Args:
        units: of the student; its bias is changed in place.
        layer: the ReLU that the spiking layer stands for.
        threshold: θ of the layer.
        steps: T.

    Raises:
        UserError: no layer before it has a bias.
    """
    _bias_before(units, layer).add_(threshold / (2 * steps))


@torch.no_grad()
def calibrate_biases(student: nn.Module, teacher: nn.Module, units: Units, layer: Node, probe: Probe) -> None:
    """Bias calibration of one layer (Li et al. 2021, light pipeline).

    `b_c ← b_c + (mean a_c − u mean r_c) / u'` for every channel c: the mean activation of the ReLU network less the mean
    firing rate of the spiking one, both over samples and positions, all earlier layers being calibrated. Printed in the
    authors' code; u and u', the units of the layer's spikes and of its current, are 1 there since its spikes carry θ.

    Args:
        student: the balanced spiking network, in evaluation mode; its bias is changed in place.
        teacher: the ReLU network, in evaluation mode.
        units: of the student.
        layer: the ReLU that the spiking layer stands for; or, with RepAct, the student's own.
        probe: the calibration samples.

    Raises:
        UserError: no layer before it has a bias.
    """
    bias = _bias_before(units, layer)
    wanted = _channel_means(probe.outputs_of(teacher, layer.name))
    answered = units[layer.name] * _channel_means(probe.outputs_of(student, layer.name))
    bias.add_(((wanted - answered) / units[layer.inputs[0]]).to(bias))


def _bias_before(units: Units, layer: Node) -> Tensor:
    bias = units.offset_before(layer.inputs[0])
    if bias is None:
        raise UserError(
            f"layer {layer.name}: no layer before it has a bias of its own to correct; "
            "use a network with biases or batch norm, or leave shift and calibration out"
        )
    return bias


def _channel_means(batches: Iterator[Tensor]) -> Tensor:
    """Mean over T, samples and positions of `[T, b, C, …]`: float64 `[C]`."""
    sums, count = torch.zeros(()), 0
    for batch in batches:
        values = batch.transpose(0, 2).flatten(1)
        sums, count = sums.to(values.device) + values.sum(1, dtype=torch.float64), count + values.shape[1]
    return sums / count
