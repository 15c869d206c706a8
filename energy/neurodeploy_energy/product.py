"""Products of two activations, as in attention: both factors may be spikes, and no weight is in it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from neurodeploy_energy.signals import Signal, signal_of


@dataclass(frozen=True)
class Product:
    """Operations of one product of matrices.

    A pair of factors of which one is a whole number is an accumulation of the other, as many times as it says; a pair of
    analog values is a multiply-accumulate.

    Attributes:
        dense: multiply-accumulates if every value were analog.
        sops: accumulations.
        macs: multiply-accumulates of pairs of analog values.
        effective: pairs without a 0.
        spikes, graded, analog, values: of both factors together.
    """

    dense: int
    sops: int
    macs: int
    effective: int
    spikes: int
    graded: int
    analog: int
    values: int


def product_of(one: Tensor, other: Tensor) -> Product:
    """Count `[P, M, K]` times `[P, K, N]`, exactly."""
    other = other.transpose(1, 2)
    left, right = signal_of(one, tuple(one.shape[1:])), signal_of(other, tuple(other.shape[1:]))
    return _paired(left, right, one.shape[0] * one.shape[1] * one.shape[2] * other.shape[1])


def weighted_sum(values: Tensor, queries: int) -> Product:
    """Count attention weights `[P, L, K]`, all of them analog, times `values` `[P, K, N]`, exactly.

    Args:
        queries: L.
    """
    values = values.transpose(1, 2)
    right = signal_of(values, tuple(values.shape[1:]))
    every = torch.full_like(right.present, queries)
    none = torch.zeros_like(every)
    left = Signal(right.rows, queries, right.places, 0, 0, int(every.sum()), none, every, every)
    return _paired(left, right, queries * values.numel())


def _paired(left: Signal, right: Signal, dense: int) -> Product:
    nothing = torch.zeros_like(left.present)
    a, b = (nothing if one.fractions is None else one.fractions for one in (left, right))
    sops = (left.magnitude * (right.magnitude + b) + a * right.magnitude).sum()
    return Product(
        dense,
        int(sops),
        int((a * b).sum()),
        int((left.present * right.present).sum()),
        left.spikes + right.spikes,
        left.graded + right.graded,
        left.analog + right.analog,
        left.values + right.values,
    )
