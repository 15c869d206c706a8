"""What a network's spiking layers fire, as its own framework computes it, and what each of them gets."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from checks.foreign.networks import STEPS, Network

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, _BatchNorm)


@dataclass(frozen=True)
class Recording:
    """A run.

    Attributes:
        spikes: spiking layer, in the order of computation → `[T, B, …]`.
        given: what the layer got, `[T, B, …]`, where its neuron is a module.
        output: `[T, B, …]` or `[B, …]`.
        fed_by: spiking layer → the module with weights that ran last before it; absent if another spiking layer came last.
    """

    spikes: dict[str, NDArray[np.float32]]
    given: dict[str, NDArray[np.float32]]
    output: NDArray[np.float32]
    fed_by: dict[str, str]

    def rates(self) -> dict[str, float]:
        """Spiking layer → spikes per neuron and step."""
        return {name: float(values.mean()) for name, values in self.spikes.items()}


def record(network: Network, module: nn.Module, inputs: Tensor) -> Recording:
    """Run a module from a fresh state.

    Raises:
        ValueError: a neuron is called neither once nor once per step, or what a loop computes does not divide into its layers.
    """
    watch = _Watch(network)
    with watch.on(module):
        output = network.run(module, inputs)
    return Recording(watch.spikes(), watch.given(), _array(output), watch.fed_by)


class _Watch:
    """Hooks on neurons and weights; on torch's functions too, where neurons are no modules."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._fired: dict[str, list[Tensor]] = defaultdict(list)
        self._given: dict[str, list[Tensor]] = defaultdict(list)
        self._compared: list[Tensor] = []
        self._neurons: dict[str, nn.Module] = {}
        self._last: str | None = None
        self.fed_by: dict[str, str] = {}

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        spiking = {name: part for name, part in module.named_modules() if self._network.framework.spiking(part)}
        inner = {id(part) for neuron in spiking.values() for part in neuron.modules() if part is not neuron}
        self._neurons = spiking
        handles = [part.register_forward_hook(self._firing(name)) for name, part in spiking.items() if id(part) not in inner]
        handles += [
            part.register_forward_hook(self._weighing(name))
            for name, part in module.named_modules()
            if isinstance(part, WEIGHTED) and id(part) not in inner
        ]
        try:
            with _Comparisons(self._network.fires, self._compare) if self._network.fires else nullcontext():
                yield
        finally:
            for handle in handles:
                handle.remove()

    def spikes(self) -> dict[str, NDArray[np.float32]]:
        if not self._network.layers:
            return {name: _array(self._joined(name, outputs)) for name, outputs in self._fired.items()}
        layers, compared = self._network.layers, self._compared
        if len(compared) != len(layers) * STEPS:
            raise ValueError(
                f"{self._network.name}: {len(compared)} calls of {self._network.fires} found, "
                f"{len(layers)} layers times {STEPS} steps expected"
            )
        each = [
            compared[i * STEPS : (i + 1) * STEPS] if self._network.layerwise else compared[i :: len(layers)]
            for i in range(len(layers))
        ]
        return {name: _array(torch.stack(values)) for name, values in zip(layers, each, strict=True)}

    def given(self) -> dict[str, NDArray[np.float32]]:
        return {name: _array(self._joined(name, values)) for name, values in self._given.items()}

    def _firing(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, inputs: Any, output: Any) -> None:
            self._fired[name].append((output[0] if isinstance(output, tuple) else output).detach().clone())
            self._given[name].append(inputs[0].detach().clone())
            self._follow(name)

        return hook

    def _weighing(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, ___: Any) -> None:
            self._last = name

        return hook

    def _compare(self, values: Tensor) -> None:
        layers, order = self._network.layers, len(self._compared)
        self._follow(layers[min(order // STEPS, len(layers) - 1) if self._network.layerwise else order % len(layers)])
        self._compared.append(values.detach().float().clone())

    def _follow(self, name: str) -> None:
        if self._last is not None:
            self.fed_by.setdefault(name, self._last)
        self._last = None

    def _joined(self, name: str, values: list[Tensor]) -> Tensor:
        if len(values) not in (1, STEPS):
            raise ValueError(f"{self._network.name}: {name} was called {len(values)} times, once or {STEPS} times expected")
        framework = self._network.framework
        return framework.whole(self._neurons[name], values[0]) if len(values) == 1 else framework.joined(values)


class _Comparisons(TorchFunctionMode):
    """Hands on the results of one of torch's functions."""

    def __init__(self, name: str, seen: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._name, self._seen = name, seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == self._name:
            self._seen(result)
        return result


def _array(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().float().numpy())
