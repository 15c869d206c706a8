"""Counts and estimated energy of every single sample, for intervals."""

from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy_energy.cost import Profile
from neurodeploy_energy.estimate import estimate
from neurodeploy_energy.series import Series

if TYPE_CHECKING:
    from neurodeploy_energy.result import Report


def model_series(report: "Report") -> Series | None:
    """Counts of the whole model: spikes of its neurons, operations of its synapses; None if they are not kept by sample."""
    if report.whole is not None or not report.series:
        return report.whole
    neurons = {row.name for row in report.layers if row.kind == "neuron"}
    spiking = [one for name, one in report.series.items() if name in neurons]
    synapses = [one for name, one in report.series.items() if name not in neurons]
    none = torch.zeros(report.samples, dtype=torch.int64)
    steps = zip_longest(*(one.spikes_per_step.tolist() for one in spiking), fillvalue=0)
    return Series(
        torch.tensor([sum(step) for step in steps], dtype=torch.int64),
        sum((one.spikes_per_sample for one in spiking), none),
        sum((one.sops_per_sample for one in synapses), none),
        sum((one.macs_per_sample for one in synapses), none),
    )


def energy_per_sample(report: "Report", profile: Profile) -> NDArray[np.float64]:
    """Estimated energy of every sample, µJ `[N]`; `[1]`, the mean, if the counts are not kept by sample.

    Neuron updates and sums stand at their mean, and memory accesses by spikes follow the synaptic operations, so that the mean
    over the samples is the report's total.
    """
    found, kept = estimate(report.layers, profile, report.steps), model_series(report)
    if kept is None:
        return np.array([found.total_uj])
    driven = {row.name for row in report.layers if row.sops}
    memory = sum(layer.memory + layer.addresses for layer in found.layers if layer.name in driven)
    sops = _around_mean(kept.sops_per_sample)
    mean = float(kept.sops_per_sample.double().mean())
    picojoules = (profile.ac or 0.0) * sops + (memory / mean * sops if mean else 0.0)
    picojoules += (profile.mac or 0.0) * _around_mean(kept.macs_per_sample)
    picojoules += (profile.spike or 0.0) * _around_mean(kept.spikes_per_sample)
    return np.asarray(found.total_uj + picojoules * 1e-6)


def _around_mean(counts: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = counts.double().numpy()
    return np.asarray(values - values.mean())
