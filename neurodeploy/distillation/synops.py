"""Synaptic operations as a loss: the very number that an energy report prints, or how far it is above a budget."""

from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor, nn

from neurodeploy.distillation.term import LossTerm, TeacherOutput
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy_energy.count.fanout import fan_out, synapses_of
from neurodeploy_energy.price.profiles import load

_MOVING = (ops.FlattenNode, ops.ReshapeNode, ops.PermuteNode, ops.PadNode, ops.SliceNode)
"""Operations that pass every spike on to one place, or to none."""


class SynapticOperations(LossTerm):
    """`Σ_l Σ_i F_l,i Σ_t s_l,i(t)` per sample, the mean over the batch; or with a budget B `max(0, that / B − 1)`.

    `F_l,i` is the fan-out of neuron i: the synapses that read its spikes, in every layer that does, borders and strides
    heeded, and 1 for each addition to a current. The value is what the energy report prints of the student's spiking layers as
    synaptic operations and additions: their whole number over the batch, divided by its size in float64. Samples that are coded
    as spikes are not in it, since nothing learns there.

    Source: spikes times fan-out as a loss: arXiv 2302.01500 (not read again). Our working form: the fan-out of each neuron as
    it is, at the borders too, and the relative excess over a budget.

    Attributes:
        budget: B, synaptic operations per sample; with `profile` their energy in µJ. None: the number itself, which is large,
            so that its weight is to be small.
        profile: of the energy report, by name or path, whose cost of a synaptic operation turns the µJ into their number.
    """

    needs_taps: ClassVar[bool] = True
    kind: Literal["synops"] = "synops"
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    profile: str | None = None
    _fan_out: dict[str, Tensor] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _a_profile_prices_a_budget(self) -> Self:
        if self.profile is not None:
            if self.budget is None:
                raise ValueError("profile: found without budget, whose µJ it is about; give both or neither")
            self._operations()
        return self

    def _operations(self) -> float | None:
        """The budget as a number of synaptic operations."""
        if self.budget is None or self.profile is None:
            return self.budget
        try:
            picojoules = load(self.profile).ac
        except UserError as error:
            raise ValueError(str(error)) from None
        if not picojoules:
            raise ValueError(f"profile: {self.profile} has no cost of a synaptic operation; choose another")
        return 1e6 * self.budget / picojoules

    def of_network(self, network: nn.Module, shape: tuple[int, ...]) -> Self:
        own = self.model_copy()
        own._fan_out = fan_outs(network, shape)
        return own

    def __call__(self, student: NetworkOutput, teacher: TeacherOutput | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        assert self._fan_out is not None, "of_network was not called"
        total = student.logits.new_zeros((), dtype=torch.float64)
        for name, fan in self._fan_out.items():
            if name not in student.taps:
                raise UserError(f"{self.kind}: layer {name} spikes and is no tap of the student; name it among its taps")
            spikes = student.taps[name]
            # numbers of spikes are whole, and exact in float32 up to 2²⁴; those of operations may be larger
            counts = spikes.sum((0, 1), dtype=torch.float32).double()
            total = total + (counts * fan.to(spikes.device)).sum()
        total, budget = total / len(labels), self._operations()
        return total if budget is None else (total / budget - 1).clamp_min(0)


def fan_outs(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Fan-out of every neuron of a spiking network, weights of zero included: layer → float64 `[C, …]` as its spikes.

    Args:
        network: a spiking twin, or a network that can be traced.
        shape: of a sample.

    Raises:
        UserError: it has no spiking layer, or something reads spikes of which no fan-out follows, such as a max pool.
    """
    own = getattr(network, "graph", None)
    graph: Graph = own if isinstance(own, Graph) else trace(network, shape)
    spiking: tuple[str, ...] = getattr(network, "spiking", graph.spiking)
    if not spiking:
        raise UserError("synops: no spiking layer found in the student, whose spikes could be counted")
    return {name: _of(graph, name, frozenset(spiking)) for name in spiking}


def _of(graph: Graph, name: str, spiking: frozenset[str]) -> Tensor:
    """Fan-out of each value that a node answers."""
    total = torch.zeros(graph.shape(name), dtype=torch.float64)
    for reader in graph.consumers(name):
        for source in reader.inputs:
            if source == name:
                total += _read_by(graph, reader, name, spiking)
    return total


def _read_by(graph: Graph, reader: ops.Node, name: str, spiking: frozenset[str]) -> Tensor:
    shape = graph.shape(name)
    if isinstance(reader, ops.Weighted):
        layer: Any = reader.layer()
        synapses = synapses_of(layer)
        assert synapses is not None, reader.kind
        return fan_out(synapses, layer.weight, shape).by_position().reshape(shape)
    if isinstance(reader, ops.OutputNode | ops.TimeMeanNode):
        return torch.zeros(shape, dtype=torch.float64)
    if isinstance(reader, ops.AddNode) and all(one.name in spiking for one in graph.consumers(reader.name)):
        return torch.ones(shape, dtype=torch.float64)
    if isinstance(reader, ops.AvgPoolNode) and reader.kernel == reader.stride and not reader.padded:
        return _moved(reader, shape, _of(graph, reader.name, spiking)) * float(torch.tensor(reader.kernel).prod())
    if isinstance(reader, _MOVING):
        return _moved(reader, shape, _of(graph, reader.name, spiking))
    raise UserError(
        f"synops: layer {reader.name} ({reader.kind}) reads the spikes of {name}, and how many operations follow from one is "
        "not known; take activity instead"
    )


def _moved(node: ops.Node, shape: tuple[int, ...], after: Tensor) -> Tensor:
    """What is said of each value that a linear node answers, for each value that it reads."""
    values = torch.zeros(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(node.layer().double()(values), values, after.reshape(1, 1, *after.shape))
    return found.reshape(shape)
