"""The integers of one population: one scale for all that flows into it, and how many synapses carry each of its afferents.

The currents of all synapses on a neuron add, so weights, bias and threshold of a population share one scale. Where a shortcut
of weight 1 meets a convolution of weights below 0.1, the 8 bits of the shortcut would leave the convolution with few levels.
Currents of several synapses between the same neurons add too: n parallel ones hold n times the largest weight, in the same
steps of 2, and leave the scale to the smaller weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, floor, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.network import BIAS_MAX, THRESHOLD_MAX, WEIGHT_MAX, WEIGHT_MIN
from neurodeploy_exporters.lava.wiring import Afferent, Readout, Stage

SUM_MAX = (1 << 17) - 1
"""A sum up to here, times 64, is inside the 24 bits of u and v: it neither wraps nor is clipped, nor fires above 17 bits."""

_CANDIDATES = 32
_PARALLEL = (1, 2, 4, 8, 16, 32)
_WORTH_IT = 0.5  # further synapses must bring the squared error below this share of what it is without them


@dataclass(frozen=True, eq=False)
class Unrounded:
    """Neurons that are to be rounded, with what flows into them.

    Attributes:
        name: for messages.
        afferents: at least one.
        bias: float64 `[C_out]` or None.
        threshold: in units of the weights; None of neurons that never fire.
        steps: how many of the largest sums of a step the current can grow to; 1 of neurons that keep none of it.
        returns: the last afferent brings back their own spikes; one synapse alone can carry that.
    """

    name: str
    afferents: tuple[Afferent, ...]
    bias: Any
    threshold: float | None
    steps: float = 1
    returns: bool = False

    @property
    def weights(self) -> tuple[Any, ...]:
        return tuple(afferent.node.weight for afferent in self.afferents)

    @cached_property
    def rounded_together(self) -> tuple[Any, ...]:
        """Of each afferent, what is rounded as one number: its weights, or for a readout their sums over pooling windows."""
        return tuple(
            by_window(afferent, afferent.node.weight) if self._is_spread(afferent) else afferent.node.weight
            for afferent in self.afferents
        )

    def integers(self, number: int, scale: float) -> Any:
        """The weights of one afferent at one scale: even numbers."""
        # halves are rounded, to even ones at ties, and doubled: the chip holds 8 bits and a sign in steps of 2
        half = np.rint(self.rounded_together[number] * (scale / 2)).astype(np.int64)
        afferent = self.afferents[number]
        return 2 * (_spread(half, afferent.windows) if self._is_spread(afferent) else half)

    def channel(self, number: int) -> "Unrounded":
        """One channel (neuron, of a population of shape `(N,)`) alone."""
        own = slice(number, number + 1)
        afferents = (replace(a, node=replace(a.node, weight=a.node.weight[own])) for a in self.afferents)
        return replace(self, afferents=tuple(afferents), bias=None if self.bias is None else self.bias[own])

    def _is_spread(self, afferent: Afferent) -> bool:
        return self.threshold is None and afferent.windows is not None


def spiking_target(stage: Stage, steps: int = 1) -> Unrounded:
    """A population that fires.

    A synaptic current with a memory has the bias in it, which grows towards b / (1 − α); the chip adds a constant to the
    membrane potential, that which brings as much over the sample.

    Args:
        stage: the population.
        steps: T, over which a current may have to add up without leaving the 24 bits of a neuron.
    """
    grown = response(stage.current_decay, steps)
    bias = None if stage.bias is None else stage.bias * grown.mean()
    back = () if stage.returning is None else (stage.returning,)
    threshold = stage.neuron.parameters.threshold
    return Unrounded(stage.name, (*stage.afferents, *back), bias, threshold, float(grown[-1]), bool(back))


def decays(stage: Stage) -> tuple[Any, Any]:
    """`iDecay` and `vDecay` of a population that fires: what is lost per step, in 1/4096; arrays where channels differ."""
    if stage.integers is not None:
        return stage.integers.i_decay, stage.integers.v_decay
    return round(4096 * (1 - stage.current_decay)), round(4096 * (1 - stage.neuron.parameters.decay))


def response(current_decay: float, steps: int) -> NDArray[np.float64]:
    """What a current that keeps `current_decay` of itself makes of a constant 1, `[steps]`."""
    return np.cumsum(current_decay ** np.arange(steps))


def readout_target(readout: Readout, steps: int) -> Unrounded:
    """The last synapse; its bias is left to the host.

    Args:
        readout: what leaves the chip as numbers.
        steps: T, over which it may have to add up without leaving the 24 bits of a neuron.
    """
    return Unrounded(readout.name, readout.afferents, None, None, steps if readout.integrates else 1)


@dataclass(frozen=True, eq=False)
class Rounded:
    """A population in integers.

    Attributes:
        scale: integer units per unit of the trained network.
        weights: of each afferent, the sum over its parallel synapses; even.
        parallel: of each afferent, the number of synapses that carry it.
        weight_errors: of each afferent ‖w_int / scale − w‖ / ‖w‖; of a readout's pooled weights, of their sums over a window.
        bias: integers `[C_out]` or None.
        threshold: `vThMant`.

    Scale and threshold are numbers, or arrays `[C]` where every channel has a scale of its own.
    """

    scale: Any
    weights: tuple[Any, ...]
    parallel: tuple[int, ...]
    weight_errors: tuple[float, ...]
    bias: Any
    threshold: Any


def candidates(target: Unrounded) -> list[float]:
    """Scales at which the population fits the chip, that with the least rounding error first.

    They run from half the largest possible one to it. An afferent is carried by several synapses where that at least halves the
    squared error, never all afferents of a population; which ones, follows from the scale.

    Raises:
        UserError: weights are not finite or all zero, or round to zero at every scale; the message names the layer.
    """
    _check(target)
    fitting: list[float] = []
    least = largest = 0.0
    for parallel in _PARALLEL:
        previous, largest = largest, _largest_scale(target, parallel)
        if largest <= previous:
            break
        # a power of two loses nothing of weights that are on a power-of-two grid already (neurodeploy.graph.grid)
        scales = [*(largest * np.linspace(0.5, 1, _CANDIDATES)), 2.0 ** floor(log2(largest))]
        errors = {scale: _error(target, scale) for scale in map(float, scales) if _fits(target, scale)}
        best = min(errors.values(), default=0.0)
        if errors and (not fitting or best < _WORTH_IT * least):
            fitting, least = sorted(errors, key=errors.__getitem__), best
    if not fitting:
        where = target.afferents[0].node.name if len(target.afferents) == 1 else target.name
        peak = max(np.abs(weight).max() for weight in target.weights)
        beside = "" if target.threshold is None else f" or the threshold {target.threshold:.3g} of {target.name}"
        raise UserError(
            f"node {where}: its weights (up to {peak:.3g}) all round to zero next to its bias{beside}; "
            "train with weight decay on the bias or a lower threshold"
        )
    return fitting


def given(target: Unrounded, scale: float) -> float:
    """The scale, if the population fits the chip at it: one that fine-tuning found its integers with.

    Raises:
        UserError: its integers are beyond what the chip holds.
    """
    _check(target)
    rounded = at_scale(target, scale)
    biases = 0 if rounded.bias is None else np.abs(rounded.bias).max()
    if not (_fits(target, scale) and biases <= BIAS_MAX and rounded.threshold <= THRESHOLD_MAX):
        raise UserError(f"node {target.name}: at the scale {scale:.6g} its integers are beyond Loihi's; use a smaller one")
    return scale


def at_scale(target: Unrounded, scale: float) -> Rounded:
    """The population at one scale, whatever the limits of the chip."""
    weights = tuple(target.integers(number, scale) for number in range(len(target.afferents)))
    return Rounded(
        scale=scale,
        weights=weights,
        parallel=tuple(_synapses_for(weight) for weight in weights),
        weight_errors=tuple(
            float(np.sqrt(_squared_error(trained, scale)) / np.linalg.norm(trained)) for trained in target.rounded_together
        ),
        bias=None if target.bias is None else np.rint(target.bias * scale).astype(np.int64),
        threshold=THRESHOLD_MAX if target.threshold is None else round(target.threshold * scale),
    )


def in_integers(stage: Stage) -> Rounded:
    """A population that is in a chip's integers already, as it is.

    Raises:
        UserError: a bias or the threshold is beyond what the chip holds, or what comes back is.
    """
    node, whole = stage.integers, spiking_target(stage)
    assert node is not None
    weights = tuple(np.rint(weight).astype(np.int64) for weight in whole.weights)
    _check(whole)
    parallel = tuple(_synapses_for(weight) for weight in weights)
    bias = np.broadcast_to(node.bias, stage.shape[:1]) if np.ndim(node.bias) == 0 and node.bias else node.bias
    most = 0 if not np.any(node.bias) else np.abs(node.bias).max()
    if np.max(node.threshold) > THRESHOLD_MAX or most > BIAS_MAX or (whole.returns and parallel[-1] > 1):
        raise UserError(
            f"node {stage.name}: a threshold of {np.max(node.threshold)}, a bias of {most} or recurrent weights up to "
            f"{max(np.abs(weight).max() for weight in weights)} found, at most {THRESHOLD_MAX}, {BIAS_MAX} and {WEIGHT_MAX} "
            "expected on Loihi; export to ONNX"
        )
    return Rounded(
        scale=1.0,
        weights=weights,
        parallel=parallel,
        weight_errors=(0.0,) * len(weights),
        bias=np.asarray(bias, np.int64) if most else None,
        threshold=node.threshold,
    )


def by_channel(target: Unrounded, scale: float) -> Rounded:
    """Every channel at the scale of its own with the least rounding error, in no more synapses than at one scale for all.

    After a hard reset the potential of a neuron is 0 in any unit, so channels need no common one; each has its threshold.

    Args:
        target: a population that fires.
        scale: at which the population fits the chip; a channel of zeros keeps it.
    """
    parallel = at_scale(target, scale).parallel
    channels = [target.channel(number) for number in range(len(target.weights[0]))]
    scales = [_own_scale(channel, parallel, scale) for channel in channels]
    rounded = [at_scale(channel, own) for channel, own in zip(channels, scales, strict=True)]
    numbers = range(len(target.afferents))
    whole = np.array(scales)
    return Rounded(
        scale=whole,
        weights=tuple(np.concatenate([each.weights[number] for each in rounded]) for number in numbers),
        parallel=parallel,
        weight_errors=tuple(
            float(
                np.sqrt(sum(_squared_error(c.rounded_together[n], s) for c, s in zip(channels, scales, strict=True)))
                / np.linalg.norm(target.rounded_together[n])
            )
            for n in numbers
        ),
        bias=None if target.bias is None else np.concatenate([each.bias for each in rounded]),
        threshold=np.array([each.threshold for each in rounded]),
    )


def _own_scale(channel: Unrounded, parallel: Sequence[int], scale: float) -> float:
    """The scale of one channel: from half the largest at which it fits to it, that of least error."""
    if not any(weight.any() for weight in channel.weights):
        return scale
    whole = [n * _largest_scale_of(w) for n, w in zip(parallel, channel.weights, strict=True) if w.any()]
    largest = _limited(channel, min(whole))
    scales = map(float, largest * np.linspace(0.5, 1, _CANDIDATES))
    return min((s for s in scales if _fits(channel, s)), key=lambda s: _error(channel, s), default=scale)


def split(weight: Any, parallel: int) -> list[Any]:
    """Even weights of so many synapses, as equal as can be, whose sum is `weight`."""
    half = weight // 2
    return [2 * (half // parallel + (index < half % parallel)) for index in range(parallel)]


def by_window(afferent: Afferent, weight: Any) -> Any:
    """Sums `[N_out, windows]` of the weights of a Linear node over its pooling windows."""
    assert afferent.windows is not None
    inside = afferent.windows >= 0
    order = np.argsort(afferent.windows[inside], kind="stable")
    first = np.searchsorted(afferent.windows[inside][order], np.arange(afferent.windows.max() + 1))
    return np.add.reduceat(weight[:, inside][:, order], first, axis=1)


def _spread(sums: Any, windows: Any) -> Any:
    """Integers `[N_out, N_in]` whose sum over each window is the given one, spread evenly over the window's inputs.

    Where thousands of pooled inputs meet in a sum of 17 bits, each has a weight of a few units, and rounding them one by one
    would move all of a window to the same side. Input r of the K of a window gets ⌊((r + 1) S + o) / K⌋ − ⌊(r S + o) / K⌋ of
    the sum S; the offset o differs between windows and outputs, so that no input is favoured everywhere.
    """
    order = np.argsort(windows, kind="stable")
    ordered = windows[order]
    rank = np.empty_like(windows)
    rank[order] = np.arange(len(windows)) - np.searchsorted(ordered, ordered)
    size = np.bincount(windows[windows >= 0])[0]
    result = np.zeros((len(sums), len(windows)), np.int64)
    for output in range(len(sums)):
        share, offset = sums[output, windows], (7 * output + 13 * windows) % size
        result[output] = (share * (rank + 1) + offset) // size - (share * rank + offset) // size
    result[:, windows < 0] = 0
    return result


def _check(target: Unrounded) -> None:
    for afferent in target.afferents:
        weight = afferent.node.weight
        if not np.isfinite(weight).all() or not (target.bias is None or np.isfinite(target.bias).all()):
            raise UserError(f"node {afferent.node.name}: weights that are not finite found; train the network again")
        if not weight.any():
            raise UserError(f"node {afferent.node.name}: all weights are zero, which Lava cannot load; remove the layer")


def _lowest(weight: Any) -> int:
    # netx changes a dense matrix of negative weights only if one is −256
    return -WEIGHT_MIN if weight.max() >= 0 else WEIGHT_MAX


def _synapses_for(weight: Any) -> int:
    return max(1, ceil(weight.max() / WEIGHT_MAX), ceil(-weight.min() / _lowest(weight)))


def _largest_scale(target: Unrounded, parallel: int) -> float:
    whole = [_largest_scale_of(weight) for weight in target.weights]
    if target.returns and len(whole) == 2:  # one synapse each, as a `.net` file holds them
        return _limited(target, min(whole))
    largest = min(parallel * min(whole), max(whole))
    return _limited(target, min(largest, whole[-1]) if target.returns else largest)


def _limited(target: Unrounded, largest: float) -> float:
    """The largest scale up to one that the weights allow, at which sums, threshold and bias fit the chip."""
    limits = [largest, SUM_MAX / target.steps / _largest_sum(target.weights, target.bias)]
    if target.threshold is not None:
        limits.append(THRESHOLD_MAX / target.threshold)
    if target.bias is not None and target.bias.any():
        limits.append(BIAS_MAX / np.abs(target.bias).max())
    return float(min(limits))


def _largest_scale_of(weight: Any) -> float:
    limits = [WEIGHT_MAX / weight.max()] if weight.max() > 0 else []
    return float(min([*limits, _lowest(weight) / -weight.min()] if weight.min() < 0 else limits))


def _fits(target: Unrounded, scale: float) -> bool:
    # a bound first, which most scales pass: rounding every weight at every scale is what takes time here
    fan_in = sum(weight[0].size for weight in target.weights)
    # rounding to even numbers moves a weight by 1 at most
    most = target.steps * (scale * _largest_sum(target.weights, target.bias) + fan_in + 1)
    if most <= SUM_MAX and all(scale * np.abs(weight).max() > 1 for weight in target.rounded_together):
        return True
    rounded = at_scale(target, scale)
    largest = target.steps * _largest_sum(rounded.weights, rounded.bias)
    alive = all(made.any() for made, trained in zip(rounded.weights, target.weights, strict=True) if trained.any())
    return alive and largest <= SUM_MAX


def _largest_sum(weights: Sequence[Any], bias: Any) -> float:
    """Largest magnitude of weights and bias that can come together at a neuron: all excitation, or all inhibition."""
    rows = np.concatenate([weight.reshape(len(weight), -1) for weight in weights], axis=1)
    offset = np.zeros(len(rows)) if bias is None else bias
    excitation, inhibition = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    return float(max((excitation + np.maximum(offset, 0)).max(), -(inhibition + np.minimum(offset, 0)).min()))


def _error(target: Unrounded, scale: float) -> float:
    """Squared error of a neuron's comparison with its threshold, if every input spiked, averaged over the neurons."""
    total = sum(_squared_error(trained, scale) / len(trained) for trained in target.rounded_together)
    if target.bias is not None:
        total += float(np.square(np.rint(target.bias * scale) / scale - target.bias).mean())
    if target.threshold is not None:
        total += (round(target.threshold * scale) / scale - target.threshold) ** 2
    return total


def _squared_error(trained: Any, scale: float) -> float:
    """‖w_int / scale − w‖²."""
    halves = trained * (scale / 2)
    halves -= np.rint(halves)
    flat = halves.ravel()
    return float(np.dot(flat, flat)) * (2 / scale) ** 2


@dataclass(frozen=True, eq=False)
class Placed:
    """A stage or readout with its integers and its place in time."""

    stage: Stage | Readout
    rounded: Rounded
    neuron: CubaConstants
    depth: int
    delays: tuple[int, ...]
    index: int

    @property
    def key(self) -> str:
        dense = "Dense" if self.recurrent is None else "RecurrentDense"
        return f"L{self.index}_{dense if len(self.stage.shape) == 1 else 'Conv'}"

    @property
    def afferents(self) -> Iterator[tuple[Afferent, Any, int, int]]:
        """Afferent, integer weight, parallel synapses, delay; without what comes back."""
        count = len(self.stage.afferents)
        rounded = self.rounded.weights[:count], self.rounded.parallel[:count]
        return zip(self.stage.afferents, *rounded, self.delays, strict=True)

    @property
    def recurrent(self) -> Any:
        """Integers `[N, N]` of the synapse through which its own spikes come back, or None."""
        returns = isinstance(self.stage, Stage) and self.stage.returning is not None
        return self.rounded.weights[-1] if returns else None
