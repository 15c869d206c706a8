"""NeuroBench's count of synaptic operations, in total as it prints it and layer by layer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LayerCount:
    """One layer, over the whole batch.

    Attributes:
        macs, acs: effective, as NeuroBench counts them, in float32.
        exact: the same operations, summed in float64.
        times: how often NeuroBench visits the layer; a layer that has two names is visited twice.
    """

    macs: int
    acs: int
    exact: int
    times: int


def run(network: nn.Module, images: Tensor) -> dict[str, float]:
    """One pass with the metric as NeuroBench's own benchmark runs it; `Effective_MACs`, `Effective_ACs`, `Dense` per sample."""
    from neurobench.metrics.workload.synaptic_operations import SynapticOperations

    model = _hooked(network)
    try:
        with torch.no_grad():
            answer = model(images)
            metric = SynapticOperations()
            result: dict[str, float] = metric(model, answer, (images, None))
        return result
    finally:
        model.cleanup_hooks()


def by_layer(network: nn.Module, images: Tensor) -> dict[str, LayerCount]:
    """Each layer by its name, with NeuroBench's function for one layer."""
    from copy import deepcopy

    from neurobench.metrics.utils.layers import single_layer_MACs

    names = {id(module): name for name, module in network.named_modules()}
    model, found = _hooked(network), {}
    try:
        with torch.no_grad():
            model(images)
        for hook in model.connection_hooks:
            hook.hook.remove()
            double, counts = deepcopy(hook.layer).double(), {True: 0, False: 0}
            exact = 0
            for inputs in hook.inputs:
                operations, spiking = single_layer_MACs(inputs[0], hook.layer)
                counts[spiking] += operations
                exact += single_layer_MACs(inputs[0].double(), double)[0]
            name = names[id(hook.layer)]
            times = found[name].times + 1 if name in found else 1
            found[name] = LayerCount(counts[False], counts[True], exact, times)
        return found
    finally:
        model.cleanup_hooks()


def _hooked(network: nn.Module) -> Any:
    from neurobench.models import TorchModel

    model = TorchModel(network)
    model.register_hooks()
    return model
