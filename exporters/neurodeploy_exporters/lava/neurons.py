"""CUBA-LIF neurons of a population, step by step on floating-point vectors: `neurodeploy.fixed_point.cuba_step`, exactly.

Why floating point is exact here: a format with a p-bit significand holds every integer of magnitude up to 2^p, and such an
integer times a power of two. All values of the update are integers but one, the product v (4096 − decay) / 4096 before it is
rounded; with 4096 − decay = k 2^z it is v k times a power of two, and rounding it towards zero is exact in any format. So an
update is exact if |v| k and every sum stay within 2^p. The bounds are computed from the largest sum that the synapses can
deliver: the current is at most that sum times 64, over the share that it loses per step, and so is the potential. float32
(p = 24) is used where they allow it, float64 (p = 53) otherwise, which they always allow: the current never leaves 32 bits
here (a larger one is refused), and the decays have 12.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from neurodeploy.errors import UserError
from neurodeploy.fixed_point import CubaParameters

_WRAP = 1 << 23
_NEVER_WRAPS_TWICE = 1 << 18  # sums up to this, times 64, keep a wrapped current within 24 bits
_INT32_MAX = (1 << 31) - 1
_FLOAT32_BITS = 24


class NeuronConstants:
    """What all neurons of a population share, in the form in which `Neurons` computes.

    Attributes:
        dtype: in which the update is exact.
        current: whether the synaptic current is a state of its own; otherwise sums go to the potential directly.
    """

    def __init__(self, parameters: CubaParameters, *, largest_sum: int, keep_current: bool) -> None:
        """
        Args:
            parameters: numbers, or integer arrays that broadcast against the state; the threshold a number.
            largest_sum: bound of |a|, in every step.
            keep_current: whether `Neurons.u` is wanted.
        """
        i_keep, v_keep = 4096 - np.asarray(parameters.i_decay), 4096 - np.asarray(parameters.v_decay)
        bias = 64 * np.asarray(parameters.bias, np.int64)
        threshold = 64 * int(parameters.threshold)

        current = _accumulated(64 * largest_sum, i_keep)
        self.wraps = current >= _WRAP
        self.watched = largest_sum > _NEVER_WRAPS_TWICE
        if self.wraps:
            current = _INT32_MAX if self.watched else _WRAP
        added = current + int(np.abs(bias).max())
        potential = _accumulated(added, v_keep)
        self.clips = potential >= _WRAP
        potential = min(potential, _WRAP - 1)
        largest = max(
            64 * largest_sum + current,  # before it wraps
            potential + added,  # before it is clipped
            current * _significand(i_keep),
            potential * _significand(v_keep),
        )
        self.dtype = torch.float32 if largest <= 1 << _FLOAT32_BITS else torch.float64

        self.current = keep_current or self.wraps or bool(i_keep.any())
        self.i_factor, self.v_factor = (_factor(keep, self.dtype) for keep in (i_keep, v_keep))
        self.bias = torch.from_numpy(bias).to(self.dtype) if bias.any() else None
        self.threshold = float(threshold) if threshold < potential else None


class Neurons:
    """The state of some of a population's neurons, from u = v = 0.

    Attributes:
        u: synaptic current, or None where the constants need none.
        minus_v: membrane potential with the sign turned, so that one pass of `threshold_` resets what spiked.
    """

    def __init__(self, constants: NeuronConstants, shape: tuple[int, ...]) -> None:
        self.constants = constants
        self.minus_v = torch.zeros(shape, dtype=constants.dtype)
        self.u = torch.zeros_like(self.minus_v) if constants.current else None

    def reset(self) -> None:
        """u = v = 0."""
        self.minus_v.zero_()
        if self.u is not None:
            self.u.zero_()

    def step(self, sums: Iterable[Tensor], spikes: Tensor) -> None:
        """One time step.

        Args:
            sums: each 64 times what a synapse delivers in this step, of the shape of the state; floating point.
            spikes: boolean, of the same shape; is overwritten.

        Raises:
            UserError: the current leaves Lava's 32-bit integers.
        """
        c, v = self.constants, self.minus_v
        _decay(v, c.v_factor)
        if self.u is None:
            for each in sums:
                v.sub_(each)
        else:
            v.sub_(self._updated_current(self.u, sums))
        if c.bias is not None:
            v.sub_(c.bias)
        if c.clips:
            v.clamp_(1 - _WRAP, _WRAP - 1)
        if c.threshold is None:
            spikes.zero_()
        else:
            torch.lt(v, -c.threshold, out=spikes)
            functional.threshold(v, -c.threshold - 1, 0.0, inplace=True)  # keeps what is larger: all are integers

    def _updated_current(self, u: Tensor, sums: Iterable[Tensor]) -> Tensor:
        c = self.constants
        _decay(u, c.i_factor)
        for each in sums:
            u.add_(each)
        if c.wraps:
            turns = (u > _WRAP).to(u.dtype).sub_((u <= -_WRAP).to(u.dtype))
            u.sub_(turns, alpha=2 * _WRAP)
        if c.watched and float(u.abs().max()) > _INT32_MAX:
            raise UserError("the current left Lava's 32 bits; use smaller weights or messages")
        return u


def _accumulated(added: int, keep: Any) -> int:
    """Bound of |x| if x keeps `keep` / 4096 of itself in every step and at most `added` is added; 2^53 for no bound."""
    lost = 4096 - int(keep.max())
    return -(-added * 4096 // lost) if lost else (1 << 53 if added else 0)


def _significand(keep: Any) -> int:
    """Largest of the numbers without the factors of two that they have in common."""
    common = int(np.bitwise_or.reduce(keep, axis=None))
    return int(keep.max()) // (common & -common) if common else 0


def _factor(keep: Any, dtype: torch.dtype) -> float | Tensor:
    return float(keep) / 4096 if keep.ndim == 0 else torch.from_numpy(keep / 4096).to(dtype)


def _decay(x: Tensor, factor: float | Tensor) -> None:
    if isinstance(factor, float) and factor in (0.0, 1.0):
        if factor == 0.0:
            x.zero_()
        return
    x.mul_(factor).trunc_()
