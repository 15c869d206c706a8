"""Counts that are kept apart by time step and by sample, as whole numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Series:
    """One layer's counts along time and along the data set; int64, on the CPU.

    Attributes:
        spikes_per_step: `[T]`, over all samples: spikes of a spiking layer, non-zero inputs of a synapse layer.
        spikes_per_sample: `[N]`, over all steps: the same.
        sops_per_sample: `[N]`: synaptic operations of a synapse layer, weights of zero included.
        macs_per_sample: `[N]`: multiply-accumulates of a synapse layer.
    """

    spikes_per_step: Tensor
    spikes_per_sample: Tensor
    sops_per_sample: Tensor
    macs_per_sample: Tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and all(torch.equal(a, b) for a, b in zip(self._all(), other._all(), strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _all(self) -> tuple[Tensor, ...]:
        return self.spikes_per_step, self.spikes_per_sample, self.sops_per_sample, self.macs_per_sample
