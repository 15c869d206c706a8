"""Where a deployed network is cut into chip and host: what each way costs both together, and the cheapest of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.graph import Graph, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy_energy import account
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.deployment import DeploymentEnergy, deployment
from neurodeploy_energy.price.placement import Place, ReadoutNeurons
from neurodeploy_energy.price.profiles import Profile
from neurodeploy_exporters.target import Subject, Target, TargetOptions

CHIP = "loihi1"
"""Profile of the chip if none is named."""

Places = Mapping[str, Place]
Cuts = Mapping[str, Places]
"""Name of a way of cutting → layer → place."""

AnyCounted = TypeVar("AnyCounted", bound=Account)


def cuts_of(target: Target, graph: Graph, options: TargetOptions) -> dict[str, dict[str, Place]]:
    """The ways in which a target may cut a graph, as its options leave it."""
    return {name: target.places(graph, settled) for name, settled in target.cuts(graph, options).items()}


@dataclass(frozen=True)
class Weighed:
    """Ways of cutting a network, and what each costs chip and host together.

    Attributes:
        energies: name → estimate; in the order in which the target names them.
        readouts: name → the chip's read-out neurons; None where it has none.
        samples: on so many they were counted.
    """

    energies: Mapping[str, DeploymentEnergy]
    readouts: Mapping[str, ReadoutNeurons | None]
    samples: int

    @property
    def cheapest(self) -> str:
        """The first of those that cost least; the first of all where one has no price."""
        totals = {name: energy.total_uj for name, energy in self.energies.items()}
        priced = {name: uj for name, uj in totals.items() if uj is not None}
        return min(priced, key=priced.__getitem__) if len(priced) == len(totals) else next(iter(totals))

    @property
    def why(self) -> str:
        """The figures in a sentence."""
        shown = [f"{name} {'no price' if e.total_uj is None else f'{e.total_uj:,.4g} µJ'}" for name, e in self.energies.items()]
        pair = next(iter(self.energies.values())).pair
        return f"Estimated energy of chip and host together per sample ({pair}; {self.samples:,} samples): {', '.join(shown)}."


def weighed(
    report: Account, module: GraphModule, batches: Callable[[], Iterable[Tensor]], cuts: Cuts, chip: Profile, host: Profile
) -> Weighed:
    """What each way of cutting costs.

    Args:
        report: counts of the network on the batches.
        module: the network, for the counts of the chip's read-out neurons.
        batches: makes the samples anew, as the module takes them.
        cuts: where each of its layers would run.
        chip, host: whose constants.
    """
    energies, readouts = {}, {}
    for name, places in cuts.items():
        readouts[name] = readout_neurons(module, places, batches)
        placed = replace(report, places=dict(places), readout=readouts[name])
        found = deployment(placed, chip, host)
        assert found is not None
        energies[name] = found
    return Weighed(energies, readouts, report.samples)


def cut_best(
    report: AnyCounted,
    module: GraphModule | None,
    batches: Callable[[], Iterable[Tensor]],
    cuts: Cuts,
) -> tuple[AnyCounted, str]:
    """The report of a network that is cut where chip and host together cost least under its first profile and its host's.

    Beside it stands why it is cut there, in a sentence; "" where there was no choice. Without a module whose read-out neurons
    could be counted it is cut at the first of the cuts.
    """
    if not cuts:
        return report, ""
    if module is None or report.host is None or not report.profiles:
        name, places = next(iter(cuts.items()))
        return replace(report, places=dict(places), cut=name), ""
    found = weighed(report, module, batches, cuts, report.profiles[0], report.host)
    name = found.cheapest
    placed = replace(report, places=dict(cuts[name]), readout=found.readouts[name], cut=name)
    return placed, found.why if len(cuts) > 1 else ""


@dataclass(frozen=True)
class CutExport:
    """An export whose place of the cut is settled.

    Attributes:
        subject: says why it is cut there.
        options: with that cut.
        weighed: what the cuts that the options allow cost; None where no part of the network leaves the host.
    """

    subject: Subject
    options: TargetOptions
    weighed: Weighed | None = None


def weighed_for(target: Target, options: TargetOptions, subject: Subject, chip: Profile, host: Profile) -> CutExport:
    """The export with the cheapest cut that its options allow, on the samples of its bundle.

    A fine-tuned network keeps its head on the host, where it was tuned.
    """
    if not target.chip:
        return CutExport(subject, options)
    graph = target.deployed(subject.graph, options)
    allowed = target.cuts(graph, options)
    if subject.tuned is not None:  # its last synapse was not tuned in the chip's integers
        allowed = dict(list(allowed.items())[:1])
    cuts = {name: target.places(graph, settled) for name, settled in allowed.items()}
    module, inputs = GraphModule(graph), torch.from_numpy(np.ascontiguousarray(subject.sample_inputs))
    axis = 1 if graph.input.timed else 0
    report = account(module, [inputs], profiles=[chip], host=host, batch_axis=axis, fold=False)
    found = weighed(report, module, lambda: [inputs], cuts, chip, host)
    said = subject if len(cuts) == 1 else replace(subject, cut=found.why)
    return CutExport(said, allowed[found.cheapest], found)


def readout_neurons(module: GraphModule, places: Places, batches: Callable[[], Iterable[Tensor]]) -> ReadoutNeurons | None:
    """Neurons that a chip has where its last synapses deliver currents to no spiking layer; None if there are none.

    They are counted with every weight as 1: a neuron is active where a spike reached it, whatever the weight.
    """
    graph = module.graph
    ends = [node for node in graph.nodes if _is_end(graph, node, places)]
    if not ends:
        return None
    # what a mean over time reads is added up on the chip and read once a sample
    sums = {end.inputs[0] if isinstance(end, ops.TimeMeanNode) else end.name: isinstance(end, ops.TimeMeanNode) for end in ends}
    tail, sources = _tail(graph, sums)
    spikes: dict[str, Tensor] = {}

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        spikes[name] = (output != 0).float()

    handles = [module.get_submodule(name).register_forward_hook(partial(keep, name)) for name in sources]
    active = slots = values = samples = 0.0
    try:
        with torch.no_grad():
            for batch in batches():
                module(batch)
                tensors = dict(spikes)
                for node, layer in tail:
                    tensors[node.name] = layer(*(tensors[source] for source in node.inputs))
                for name, once in sums.items():
                    currents = tensors[name]
                    steps, number = currents.shape[:2]
                    active += float((currents != 0).sum())
                    slots += currents.numel()
                    values += currents.numel() / (steps if once else 1)
                samples += number
    finally:
        for handle in handles:
            handle.remove()
    return ReadoutNeurons(active / samples, (slots - active) / samples, values / samples)


def _is_end(graph: Graph, node: ops.Node, places: Places) -> bool:
    """Whether a value that is no spike leaves the chip there."""
    if places.get(node.name) != "body" or isinstance(node, ops.Spiking):
        return False
    readers = [places.get(reader.name) for reader in graph.consumers(node.name)]
    return "head" in readers and _has_synapse(graph, node)


def _has_synapse(graph: Graph, node: ops.Node) -> bool:
    """Whether a synapse is between a value and the spikes that it is made of: a sum of spikes needs none."""
    pending = [node]
    while pending:
        one = pending.pop()
        if isinstance(one, ops.Weighted):
            return True
        pending += [graph[name] for name in one.inputs if not isinstance(graph[name], ops.Spiking)]
    return False


def _tail(graph: Graph, ends: Iterable[str]) -> tuple[list[tuple[ops.Node, nn.Module]], list[str]]:
    """Nodes from the last spikes to the ends, in order, with layers whose weights are 1; and the spiking layers they read."""
    inside: set[str] = set()
    sources: set[str] = set()
    pending = list(ends)
    while pending:
        name = pending.pop()
        if isinstance(graph[name], ops.Spiking):
            sources.add(name)
        elif name not in inside:
            inside.add(name)
            pending += graph[name].inputs
    nodes = [node for node in graph.nodes if node.name in inside]
    return [(node, _of_ones(node).layer()) for node in nodes], [node.name for node in graph.nodes if node.name in sources]


def _of_ones(node: ops.Node) -> ops.Node:
    return replace(node, weight=np.ones_like(node.weight), bias=None) if isinstance(node, ops.Weighted) else node
