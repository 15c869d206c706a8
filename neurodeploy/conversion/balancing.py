"""Threshold balancing: one firing threshold per layer, so that the firing rate of a neuron stands for its activation.

Four ways, none of which touches a weight:

- **spiking** (Sengupta et al. 2019, "Going Deeper in Spiking Neural Networks"): `θ_l = max over samples, neurons and t of
  I_l(t)`, the current that layer l of the *spiking* network receives at one step, all earlier thresholds being set. That it is
  the maximum input received, layer by layer, is quoted by Rathi et al. (2020) and LaSNN, and printed in the code of Rathi et
  al.; a percentile instead of the maximum is our working form.
- **activations**: `θ_l = max` of the layer's activation in the ReLU network (quoted: Diehl et al. 2015), or a percentile of
  those that are not 0, 99.9 being usual (quoted: Rueckauer et al. 2017; that zeros are left out is printed in the code of
  their conversion toolbox). Their rescaling of the weights by the same factors is `units.Units`.
- **error** (printed in the code of Li et al. 2021): of the 95 candidates `θ = (1 − 0.01 i) max a`, the one with the least
  `Σ (a − θ/T ⌊clamp(a T / θ, 0, T)⌋)²`, the error of the firing rate after T steps against the activation.
- **one**: θ = 1 everywhere, to compare with.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from neurodeploy.conversion.observing import Probe
from neurodeploy.conversion.percentile import positive_percentile
from neurodeploy.errors import UserError

_CANDIDATES = 95


def largest_current(network: nn.Module, layer: str, probe: Probe, percentile: float) -> float:
    """The maximum, or a percentile, of the positive pre-activations of one layer.

    In the spiking network that is "spiking" balancing, in the ReLU network "activations".

    Args:
        network: in evaluation mode; every earlier layer as it is to stay.
        layer: name of its spiking layer, or of its ReLU.
        probe: the calibration samples.
        percentile: above 0, at most 100.

    Raises:
        UserError: no pre-activation is above 0, so that no threshold can be found.
    """
    found = positive_percentile(probe.inputs_of(network, layer), len(probe), percentile)
    if found is None:
        raise _silent(layer, len(probe))
    return found


def least_error(teacher: nn.Module, layer: str, probe: Probe, steps: int) -> float:
    """The threshold of the least error of the firing rate against the activation ("error").

    Args:
        teacher: the ReLU network, in evaluation mode.
        steps: T.
        layer, probe: see `largest_current`.

    Raises:
        UserError: no activation is above 0.
    """
    largest = max(float(batch.max()) for batch in _activations(teacher, layer, probe))
    if largest <= 0:
        raise _silent(layer, len(probe))
    candidates = [(1 - 0.01 * i) * largest for i in range(_CANDIDATES)]
    errors = _errors(_activations(teacher, layer, probe), candidates, steps)
    return candidates[int(errors.argmin())]


def _activations(teacher: nn.Module, layer: str, probe: Probe) -> Iterator[Tensor]:
    return (batch.clamp_min(0) for batch in probe.inputs_of(teacher, layer))


def _errors(batches: Iterable[Tensor], candidates: list[float], steps: int) -> Tensor:
    errors = torch.zeros(len(candidates), dtype=torch.float64)
    for a in batches:
        for i, threshold in enumerate(candidates):
            rate = (a * (steps / threshold)).clamp_max(steps).floor() * (threshold / steps)
            errors[i] += (a - rate).square().sum(dtype=torch.float64).cpu()
    return errors


def _silent(layer: str, samples: int) -> UserError:
    return UserError(
        f"layer {layer}: none of its neurons is ever driven above 0 by the {samples} calibration samples; "
        "calibrate with more of the training data, or train the teacher again"
    )
