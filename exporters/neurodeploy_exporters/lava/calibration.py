"""Which of several roundings of a population fires most nearly what the trained population fires, on data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neurodeploy.dynamics.delays import delayed
from neurodeploy.dynamics.neurons import CubaParameters, cuba_step, neuron_step, synapse_step
from neurodeploy.graph import ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.rounding import Rounded, Unrounded, at_scale, decays
from neurodeploy_exporters.lava.wiring import Afferent, Stage


def delivered(afferent: Afferent, spikes: Tensor, weight: Any) -> Tensor:
    """The currents `[T, B, …]`, float32.

    They are exact where the weights are integers, because sums stay within 24 bits. A delay of the afferent is in them.

    Args:
        afferent: its geometry.
        spikes: of its source, `[T, B, …]`.
        weight: in place of that of the afferent, of the same shape.
    """
    steps, batch = spikes.shape[:2]
    spikes = spikes if afferent.each is None else delayed(spikes, afferent.each)
    x = spikes.flatten(0, 1).to(torch.float32)
    w = torch.from_numpy(np.asarray(weight, np.float32))
    node = afferent.node
    if isinstance(node, ops.LinearNode):
        y = functional.linear(x.flatten(1), w)
    else:
        convolve: Any = functional.conv1d if w.ndim == 3 else functional.conv2d
        y = convolve(x, w, None, node.stride, node.padding, node.dilation, node.groups)
    y = y.reshape(steps, batch, *y.shape[1:])
    late = min(afferent.delay, steps)
    return torch.cat([torch.zeros_like(y[:late]), y[: steps - late]]) if late else y


_TRIED = 9


class Calibration:
    """Runs the trained body, population after population, beside its roundings.

    Trained and rounded population read the same spikes, those of the trained network, so that they differ by what the candidate
    rounds and by nothing else. Reading what the rounded populations before it fire, as on the chip, was no better: over three
    plain, three residual and three spike-element-wise networks for handwritten digits (500 test samples each, float 94.40 %)
    the mean accuracy was 94.29 % this way, 94.16 % that way, and 94.20 % by least rounding error; fewer spikes differed this
    way in most.

    Args:
        source: name of the tensor that enters the body.
        spikes: its values on the calibration data, `[T, B, …]`, 0 or 1.
    """

    def __init__(self, source: str, spikes: NDArray[Any]) -> None:
        if spikes.ndim < 3 or 0 in spikes.shape or not ((spikes == 0) | (spikes == 1)).all():
            shown = f"shape {spikes.shape}" if spikes.ndim < 3 or 0 in spikes.shape else "values other than 0 and 1"
            raise UserError(f"calibration: {shown} found, spikes [T, B, …] of the body's input expected")
        self._spikes = {source: torch.from_numpy(np.ascontiguousarray(spikes, np.uint8))}

    def choose(self, stage: Stage, target: Unrounded, scales: Sequence[float]) -> float:
        """The scale with which fewest spikes differ from those of the trained population; the first of equals.

        At most nine are tried, spread evenly, with the first one among them; so the search costs ten runs of each layer on the
        calibration data.
        """
        trained = _fired(stage, self._current(stage, target.weights))
        self._spikes[stage.name] = trained

        def wrong(scale: float) -> int:
            rounded = at_scale(target, scale)
            return int((_fired_by_integers(stage, self._current(stage, rounded.weights), rounded) != trained).sum())

        return min(_spread(scales), key=wrong)

    def follow(self, stage: Stage, rounded: Rounded) -> None:
        """Run a population that is in integers already, for those after it."""
        self._spikes[stage.name] = _fired_by_integers(stage, self._current(stage, rounded.weights), rounded)

    def _current(self, stage: Stage, weights: Sequence[Any]) -> Tensor:
        total: Any = sum(
            delivered(afferent, self._spikes[afferent.source], weight)
            for afferent, weight in zip(stage.afferents, weights, strict=False)  # without what comes back
        )
        return total


def _spread(scales: Sequence[float]) -> list[float]:
    ranked = sorted(scales[1:])
    indices = sorted({round(index) for index in np.linspace(0, len(ranked) - 1, _TRIED - 1)}) if ranked else []
    return [scales[0], *(ranked[index] for index in indices)]


def _fired(stage: Stage, current: Tensor) -> Tensor:
    i: Any = torch.zeros_like(current[0])
    v: Any = torch.zeros_like(current[0])
    fired = torch.empty(current.shape, dtype=torch.uint8)
    constant = _over_places(stage, stage.bias, torch.float32)
    weight = None if stage.returning is None else stage.returning.node.weight
    for step, now in enumerate(current):
        i = synapse_step(i, now + constant + _back(weight, fired, step), stage.current_decay)
        fired[step], v = neuron_step(v, i, stage.neuron.parameters, lambda h, theta: (h > theta).to(torch.float32))
    return fired


def _back(weight: Any, fired: Tensor, step: int) -> Any:
    """What the spikes of the step before bring; 0 for none."""
    if weight is None or not step:
        return 0
    return functional.linear(fired[step - 1].to(torch.float32), torch.from_numpy(np.asarray(weight, np.float32)))


def _over_places(stage: Stage, bias: Any, dtype: torch.dtype) -> Any:
    """A bias `[C]` that broadcasts against the stage's currents; 0 for none."""
    return 0 if bias is None else torch.tensor(np.asarray(bias)).to(dtype).reshape(-1, *(1,) * (len(stage.shape) - 1))


def _fired_by_integers(stage: Stage, current: Tensor, rounded: Rounded) -> Tensor:
    constants = (*decays(stage), rounded.threshold, rounded.bias)
    parameters = CubaParameters(*(_of_channels(stage, value) for value in constants))
    weight = None if stage.returning is None else rounded.weights[-1]
    u = v = torch.zeros(current.shape[1:], dtype=torch.int64)
    fired = torch.empty(current.shape, dtype=torch.uint8)
    for step, now in enumerate(current):
        fired[step], u, v = cuba_step(u, v, (now + _back(weight, fired, step)).to(torch.int64), parameters)
    return fired


def _of_channels(stage: Stage, value: Any) -> Any:
    return _over_places(stage, value, torch.int64) if value is None or np.ndim(value) else value
