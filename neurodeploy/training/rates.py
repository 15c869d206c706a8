"""Firing rates of a network in training: how often the neurons of each layer fire, per time step."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from warnings import warn

import torch
from torch import Tensor, nn

from neurodeploy.dynamics.kernels.bfloat16 import ScaledCurrent
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.recomputation import is_computed_again
from neurodeploy.io.errors import Notice
from neurodeploy.training.parallel import total
from neurodeploy_energy.count.recognition import neurons_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SATURATED = 0.98
"""A layer whose neurons fire in more of all steps than that tells the next layer next to nothing."""


class FiringRates:
    """Counts the spikes of every spiking layer, of this toolkit or another framework, from one reading to the next.

    Args:
        network: in training; without spiking layers nothing is counted.
    """

    def __init__(self, network: nn.Module) -> None:
        layers = ((name, module, neurons_of(module)) for name, module in network.named_modules())
        self._layers = {
            name: module for name, module, known in layers if known is not None and known.fires and not known.graded
        }
        # a tensor for each, since a number would have to be waited for on a GPU
        self._fired: dict[str, Tensor] = {}
        self._slots = dict.fromkeys(self._layers, 0)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """The spikes of all forward passes inside are counted."""
        handles = [module.register_forward_hook(self._counter(name)) for name, module in self._layers.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _counter(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        of_height_one = isinstance(self._layers[name], Neuron)

        def hook(_module: nn.Module, inputs: tuple[Any, ...], answer: Any) -> None:
            spikes = answer[0] if isinstance(answer, tuple | list) else answer
            if not isinstance(spikes, Tensor) or is_computed_again():
                return
            read = inputs[0] if inputs else None
            if isinstance(read, ScaledCurrent) and read.fired is not None:
                count = read.fired.sum().double()
            else:
                count = _count(spikes.detach(), of_height_one=of_height_one)
            self._fired[name] = self._fired[name] + count if name in self._fired else count
            self._slots[name] += spikes.numel()

        return hook

    def read(self, fabric: "Fabric") -> dict[str, float]:
        """Layer → share of all neurons and steps with a spike, over all processes, since the last reading."""
        names = [name for name in self._layers if name in self._fired]
        pairs = [[float(self._fired[name]), float(self._slots[name])] for name in names]
        self._fired, self._slots = {}, dict.fromkeys(self._layers, 0)
        if not pairs:
            return {}
        sums = total(torch.tensor(pairs, dtype=torch.float64, device=fabric.device), fabric)
        return dict(zip(names, (sums[:, 0] / sums[:, 1]).tolist(), strict=True))

    def mean(self) -> float | None:
        """The share over all layers so far, of this process alone; None if nothing spikes."""
        slots = sum(self._slots[name] for name in self._fired)
        return float(torch.stack([*self._fired.values()]).sum()) / slots if slots else None


def _count(spikes: Tensor, *, of_height_one: bool) -> Tensor:
    """Number of spikes. Those of 0 or 1 are summed, which takes a CPU an eighth of the time; exact below 2²⁴ in a step."""
    if not of_height_one or spikes.ndim < 2:
        return torch.count_nonzero(spikes)
    return spikes.sum(tuple(range(1, spikes.ndim)), dtype=torch.float32).double().sum()


class RateWarnings:
    """Says of each layer that is dead or saturated, once in a training.

    Args:
        title: of what is trained.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._said: set[tuple[str, str]] = set()

    def check(self, epoch: int, rates: Mapping[str, float]) -> None:
        """Warn of layers that fired in no step of an epoch, or in nearly all.

        Args:
            epoch: its number, from 1.
            rates: layer → share of neurons and steps with a spike.
        """
        for layer, rate in rates.items():
            if rate == 0:
                self._say(layer, "dead", f"did not fire once in epoch {epoch}, and no gradient but its surrogate's passes")
            elif rate > SATURATED:
                self._say(layer, "saturated", f"fired in {100 * rate:.1f} % of all neurons and steps of epoch {epoch}")

    def _say(self, layer: str, state: str, found: str) -> None:
        if (layer, state) in self._said:
            return
        self._said.add((layer, state))
        advice = "lower its threshold" if state == "dead" else "raise its threshold, or lower the weights before it"
        warn(f"{self._title}: layer {layer} {found}: it is {state}; {advice}", Notice, stacklevel=2)
