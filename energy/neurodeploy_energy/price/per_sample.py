"""Counts and estimated energies sample by sample: what intervals over the samples are made of."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy_energy.count.layer import LayerRow, Series, exact_sum
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.estimate import are_graded, estimate
from neurodeploy_energy.price.profiles import Profile


def model_series(report: Account) -> Series | None:
    """Counts of the whole model: spikes of its neurons, operations of its synapses; None if they are not kept by sample."""
    if report.whole is not None or not report.series:
        return report.whole
    return _summed(report, report.layers)


def chip_series(report: Account) -> Series | None:
    """As `model_series`, of what a chip computes: operations on spikes, of the layers that are not the host's.

    None where nobody knows it: a report of an earlier version that was read from its file has no layer's counts by sample.
    """
    if report.on_chip is not None or any(len(one.spikes_per_sample) != report.samples for one in report.series.values()):
        return report.on_chip
    if not report.series:
        return None
    return _summed(report, [row for row in report.layers if report.places.get(row.name, "body") == "body"])


def _summed(report: Account, rows: Sequence[LayerRow]) -> Series:
    neurons, own = {row.name for row in rows if row.kind == "neuron"}, {row.name for row in rows}
    spiking = [one for name, one in report.series.items() if name in neurons]
    synapses = [one for name, one in report.series.items() if name in own - neurons]
    none = torch.zeros(report.samples, dtype=torch.int64)
    steps = zip_longest(*(one.spikes_per_step.tolist() for one in spiking), fillvalue=0)
    return Series(
        torch.tensor([sum(step) for step in steps], dtype=torch.int64),
        sum((one.spikes_per_sample for one in spiking), none),
        sum((one.sops_per_sample for one in synapses), none),
        sum((one.macs_per_sample for one in synapses), none),
    )


def energy_per_sample(report: Account, profile: Profile) -> NDArray[np.float64] | None:
    """Estimated energy of every sample, µJ `[N]`; `[1]`, the mean, if the counts are not kept by sample; None without a total.

    Neuron updates and sums stand at their mean, what a host computes does too where it is dense, and memory accesses by spikes
    follow the synaptic operations, so that the mean over the samples is the report's total.
    """
    placement = report.placement(profile)
    breakdown = estimate(report.layers, profile, report.steps, placement)
    if breakdown.total_uj is None:
        return None
    kept = model_series(report) if placement is None else chip_series(report)
    if kept is None:
        return np.array([breakdown.total_uj])
    driven = {row.name for row in report.layers if row.sops}
    memory = exact_sum(layer.memory + layer.addresses for layer in breakdown.layers if layer.name in driven)
    sops = _around_mean(kept.sops_per_sample)
    mean = float(kept.sops_per_sample.double().mean())
    cost = profile.mac if are_graded(report.layers) else profile.ac
    picojoules = (cost or 0.0) * sops + (memory / mean * sops if mean else 0.0)
    picojoules += (profile.mac or 0.0) * _around_mean(kept.macs_per_sample)
    picojoules += (profile.spike or 0.0) * _around_mean(kept.spikes_per_sample)
    return np.asarray(breakdown.total_uj + picojoules * 1e-6)


def _around_mean(counts: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = counts.double().numpy()
    return np.asarray(values - values.mean())
