"""Runs the tools on the networks and prints what they count, per sample, as JSON.

    python -m checks.counters.tools neurobench spikingjelly fvcore
    python -m checks.counters.tools syops

Run in an environment with the tools; syops 0.0.5 reads SpikingJelly up to 0.0.0.0.12 alone, so that it has one of its own.
"""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from checks.counters.networks import SAMPLES, Case, cases

Count = tuple[float, float]
"""Multiply-accumulates and accumulations per sample."""


class Looped(nn.Module):
    """A network of one step in a loop over time, as the tools that call a model once need it; `[B, T, …]` → `[B, 10]`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return sum(self.network(step) for step in x.unbind(1)) / x.shape[1]


def neurobench(case: Case) -> dict[str, Any]:
    """`SynapticOperations`, and each layer with the function behind it."""
    from neurobench.metrics.utils.layers import single_layer_MACs
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

    network = Looped(case.network(_if_node()))
    names = {id(module): name.removeprefix("network.") for name, module in network.named_modules()}
    model = TorchModel(network)
    model.register_hooks()
    x = case.inputs.transpose(0, 1)
    with torch.no_grad():
        answer = model(x)
        total = SynapticOperations()(model, answer, (x, None))
        layers: dict[str, list[float]] = {}
        for hook in model.connection_hooks:
            hook.hook.remove()
            counted = layers.setdefault(names[id(hook.layer)], [0.0, 0.0])
            for one in hook.inputs:
                operations, spiking = single_layer_MACs(one[0], hook.layer)
                counted[1 if spiking else 0] += float(operations) / SAMPLES
    return {"total": [total["Effective_MACs"], total["Effective_ACs"]], "layers": layers}


def spikingjelly_simple(case: Case) -> dict[str, Any]:
    """The MAC and AC counters of `SimpleEnergyProfiler`, by module."""
    from spikingjelly.activation_based.op_counter import ACCounter, DispatchCounterMode, MACCounter

    network, macs, acs = Looped(case.network(_if_node())), MACCounter(), ACCounter()
    with DispatchCounterMode([macs, acs]), torch.no_grad():
        network(case.inputs.transpose(0, 1))
    layers: dict[str, list[float]] = {}
    for at, counter in enumerate((macs, acs)):
        for scope, operations in counter.get_counts().items():
            name = scope.removeprefix("Looped.").removeprefix("network.")
            layers.setdefault(name, [0.0, 0.0])[at] += sum(operations.values()) / SAMPLES
    return {"total": [macs.get_total() / SAMPLES, acs.get_total() / SAMPLES], "layers": layers}


def spikingjelly_lemaire(case: Case) -> dict[str, Any]:
    """`LemaireEnergyProfiler`, step after step; what its formulas do not know is left out, with a warning."""
    from spikingjelly.activation_based.op_counter import LemaireEnergyConfig, LemaireEnergyProfiler

    network = Looped(case.network(_if_node()))
    profiler = LemaireEnergyProfiler(config=LemaireEnergyConfig(strict=False))
    profiler.bind_model(network)
    with profiler, torch.no_grad():
        network(case.inputs.transpose(0, 1))
    counts = profiler.get_report().counts
    return {"total": [counts["mac"] / SAMPLES, counts["ac"] / SAMPLES]}


def spikingjelly_neuromc(case: Case) -> dict[str, Any]:
    """`NeuroMCEnergyProfiler` of a forward pass: its MACs on analog values, and those of its spiking cores."""
    from spikingjelly.activation_based.op_counter import estimate_neuromc_runtime_energy

    with torch.no_grad():
        try:
            report = estimate_neuromc_runtime_energy(Looped(case.network(_if_node())), case.inputs.transpose(0, 1))
        except ValueError as error:
            return {"refused": str(error)}
    counts = report.counts_by_core_type
    return {"total": [counts.get(core, {}).get("mac", 0) / SAMPLES for core in ("ann_fe", "fp_soma")]}


def fvcore(case: Case) -> dict[str, Any]:
    """`FlopCountAnalysis`, by module: its flops are multiply-accumulates."""
    from fvcore.nn import FlopCountAnalysis

    from checks.counters.networks import Fire

    analysis = FlopCountAnalysis(Looped(case.network(Fire)), case.inputs.transpose(0, 1))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    layers = {
        name.removeprefix("network."): [flops / SAMPLES, 0.0]
        for name, flops in analysis.by_module().items()
        if name and "." in name
    }
    return {"total": [analysis.total() / SAMPLES, 0.0], "layers": layers}


def syops(case: Case) -> dict[str, Any]:
    """`get_model_complexity_info`, by module."""
    import syops.engine as engine
    from spikingjelly.clock_driven.neuron import IFNode

    network = Looped(case.network(IFNode))
    engine.add_syops_counting_methods(network)
    network.start_syops_count(ost=sys.stderr, verbose=False, ignore_list=[])
    with torch.no_grad():
        network(case.inputs.transpose(0, 1))
    (_, acs, macs, _), _ = network.compute_average_syops_cost()
    layers = {
        name.removeprefix("network."): [module.__syops__[2] / SAMPLES, module.__syops__[1] / SAMPLES]
        for name, module in network.named_modules()
        if engine.is_supported_instance(module)
    }
    return {"total": [macs, acs], "layers": layers}


def _if_node() -> Callable[[], nn.Module]:
    from spikingjelly.activation_based.neuron import IFNode

    return IFNode


TOOLS: dict[str, dict[str, Callable[[Case], dict[str, Any]]]] = {
    "neurobench": {"NeuroBench": neurobench},
    "syops": {"syops": syops},
    "spikingjelly": {
        "SpikingJelly simple": spikingjelly_simple,
        "SpikingJelly Lemaire": spikingjelly_lemaire,
        "SpikingJelly NeuroMC": spikingjelly_neuromc,
    },
    "fvcore": {"fvcore": fvcore},
}


def main() -> None:
    counted: dict[str, Any] = {}
    with redirect_stdout(sys.stderr):
        for distribution in sys.argv[1:]:
            for tool, count in TOOLS[distribution].items():
                networks = {name: count(case) for name, case in cases().items()}
                counted[tool] = {"version": version(distribution), "networks": networks}
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
