"""Which of several roundings of a population fires most nearly what the trained population fires, on data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurodeploy.errors import UserError
from neurodeploy.fixed_point import CubaParameters, cuba_step
from neurodeploy.neurons import neuron_step
from neurodeploy_exporters.lava.currents import delivered
from neurodeploy_exporters.lava.rounding import Rounded
from neurodeploy_exporters.lava.wiring import Stage

_TRIED = 9


class Calibration:
    """Runs the trained body and the rounded one side by side, population after population.

    The rounded populations read the spikes of the rounded ones before them, as they will on the chip, so that a choice makes up
    for what the choices before it changed.

    Args:
        source: name of the tensor that enters the body.
        spikes: its values on the calibration data, `[T, B, …]`, 0 or 1.
    """

    def __init__(self, source: str, spikes: NDArray[Any]) -> None:
        if spikes.ndim < 3 or 0 in spikes.shape:
            raise UserError(f"calibration: spikes of shape {spikes.shape} found, [T, B, …] of the body's input expected")
        entering = torch.from_numpy(np.ascontiguousarray(spikes, np.uint8))
        self._trained, self._rounded = {source: entering}, {source: entering}

    def choose(self, stage: Stage, candidates: Sequence[Rounded]) -> Rounded:
        """The candidate whose spikes differ least from those of the trained population; the first of equals.

        At most nine are tried, spread evenly over the scales, with the first one among them; so the search costs nine runs of
        each layer on the calibration data.
        """
        trained = _fired(stage, self._current(stage, self._trained, [a.node.weight for a in stage.afferents], stage.bias))
        best, least = candidates[0], None
        for rounded in _spread(candidates):
            current = self._current(stage, self._rounded, rounded.weights, rounded.bias)
            fired = _fired_by_integers(stage, current, rounded)
            wrong = int((fired != trained).sum())
            if least is None or wrong < least:
                best, least = rounded, wrong
                self._rounded[stage.neuron.name] = fired
        self._trained[stage.neuron.name] = trained
        return best

    def _current(self, stage: Stage, spikes: dict[str, Tensor], weights: Sequence[Any], bias: Any) -> Tensor:
        total: Any = sum(
            delivered(afferent, spikes[afferent.source], weight)
            for afferent, weight in zip(stage.afferents, weights, strict=True)
        )
        if bias is None:
            return total
        return total + torch.from_numpy(np.asarray(bias, np.float32)).reshape(-1, *(1,) * (len(stage.shape) - 1))


def _spread(candidates: Sequence[Rounded]) -> list[Rounded]:
    ranked = sorted(candidates[1:], key=lambda rounded: rounded.scale)
    places = sorted({round(place) for place in np.linspace(0, len(ranked) - 1, _TRIED - 1)}) if ranked else []
    return [candidates[0], *(ranked[place] for place in places)]


def _fired(stage: Stage, current: Tensor) -> Tensor:
    v: Any = torch.zeros_like(current[0])
    fired = torch.empty(current.shape, dtype=torch.uint8)
    for step, now in enumerate(current):
        fired[step], v = neuron_step(v, now, stage.neuron.parameters, lambda h, theta: (h > theta).to(torch.float32))
    return fired


def _fired_by_integers(stage: Stage, current: Tensor, rounded: Rounded) -> Tensor:
    parameters = CubaParameters(4096, round(4096 * (1 - stage.neuron.parameters.decay)), rounded.threshold)
    u = v = torch.zeros(current.shape[1:], dtype=torch.int64)
    fired = torch.empty(current.shape, dtype=torch.uint8)
    for step, now in enumerate(current):
        fired[step], u, v = cuba_step(u, v, now.to(torch.int64), parameters)
    return fired
