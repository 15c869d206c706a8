"""Makes an untrained network fire as a trained one does: every spiking layer between 5 and 30 % of its neurons per step."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from checks.foreign.networks import Network
from checks.foreign.recording import WEIGHTED, Recording, record

LEAST, MOST = 0.05, 0.30
_AIM = (0.08, 0.25)
_GRID = 1 / 256
"""Weights are multiples of it. Sums of spikes times weights are then exact in float32, whatever the order in which they are
added: a spike that differs elsewhere is another computation, and no rounding."""


def trained_like(network: Network, module: nn.Module, inputs: Tensor) -> Recording:
    """Give a module statistics and weights with which every layer fires, in place; its recording with them.

    Raises:
        ValueError: a layer cannot be brought to fire as much as it should.
    """
    _fill_batch_norms(network, module, inputs)
    _on_grid(parameter for part in module.modules() for parameter in _weights(network, part))
    _on_grid(parameter for parameter in module.parameters() if parameter.ndim > 1)
    search: dict[str, _Search] = {}
    for _ in range(200):
        recording = record(network, module, inputs)
        rates = recording.rates()
        wrong = [name for name, rate in rates.items() if not _AIM[0] <= rate <= _AIM[1]]
        if not wrong:
            return recording
        name = wrong[0]
        if name not in search:
            search[name] = _Search(_knob(network, module, recording, name))
        search[name].turn(louder=rates[name] < _AIM[0])
    raise ValueError(f"{network.name}: {name} fires {rates[name]:.1%} whatever its weights are multiplied by")


class _Search:
    """Bisects a factor: of weights, or of what a threshold is divided by."""

    def __init__(self, turn: Callable[[float], None]) -> None:
        self._set = turn
        self._factor, self._least, self._most = 1.0, 0.0, float("inf")

    def turn(self, *, louder: bool) -> None:
        """One step, to more spikes or to fewer."""
        if louder:
            self._least = self._factor
            self._factor = self._factor * 1.6 if self._most == float("inf") else (self._least * self._most) ** 0.5
        else:
            self._most = self._factor
            self._factor = self._factor / 1.6 if self._least == 0 else (self._least * self._most) ** 0.5
        self._set(self._factor)


def _knob(network: Network, module: nn.Module, recording: Recording, name: str) -> Callable[[float], None]:
    """What makes a layer fire more: its own weights, those before it, or its threshold where another layer comes before it."""
    if not network.layers:
        neuron = module.get_submodule(name)
        own = network.framework.weights(neuron)
        if own:
            return _times(own)
        if name not in recording.fed_by and network.framework.threshold:
            return _divided(neuron, network.framework.threshold)
    if name not in recording.fed_by:
        raise ValueError(f"{network.name}: no weights are known that feed {name}")
    return _times(_weights(network, module.get_submodule(recording.fed_by[name])))


def _times(tensors: list[Tensor]) -> Callable[[float], None]:
    originals = [tensor.detach().clone() for tensor in tensors]

    def turn(factor: float) -> None:
        with torch.no_grad():
            for tensor, original in zip(tensors, originals, strict=True):
                tensor.copy_(original * factor)
        _on_grid(tensors)

    return turn


def _divided(neuron: nn.Module, threshold: str) -> Callable[[float], None]:
    original = getattr(neuron, threshold)
    return lambda factor: setattr(neuron, threshold, max(round(original / factor / _GRID), 1) * _GRID)


def _weights(network: Network, part: nn.Module) -> list[Tensor]:
    if isinstance(part, WEIGHTED):
        return [parameter for parameter in (part.weight, part.bias) if parameter is not None]
    return network.framework.weights(part)


def _fill_batch_norms(network: Network, module: nn.Module, inputs: Tensor) -> None:
    """Statistics of the inputs, and scales and shifts that are not all equal."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.train()
        norm.momentum = None  # the plain mean over all calls
        with torch.no_grad():
            norm.weight.mul_(0.75 + 0.5 * torch.rand_like(norm.weight))
            norm.bias.add_(0.4 * torch.rand_like(norm.bias) - 0.2)
    network.run(module, inputs)
    for norm in norms:
        norm.eval()


def _on_grid(tensors: Iterable[Tensor]) -> None:
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(torch.round(tensor / _GRID) * _GRID)
