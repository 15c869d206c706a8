"""A trained network as exporters take it: a graph, and samples in the form in which they enter it."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.app.targets import calibration_inputs
from neurodeploy.data import DataSet
from neurodeploy.dynamics.encodings import EventInput, LatencyEncoding, PoissonEncoding
from neurodeploy.graph import Graph, fold_batch_norm
from neurodeploy.graph.interpreter import Array
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network and its data.

    A network that makes spikes of a sample itself (Poisson or latency code) is deployed without that layer: a host does it, and
    the graph's input is the sequence of spikes.

    Attributes:
        graph: batch norm folded.
        data: that the network was trained on.
        code: the layer of the host, or None.
    """

    graph: Graph
    data: DataSet
    code: PoissonEncoding | LatencyEncoding | None = None

    @property
    def encoding(self) -> str | None:
        """What the host does, for the manifest."""
        if self.code is None:
            return None
        kind = {PoissonEncoding: "Poisson", LatencyEncoding: "latency"}[type(self.code)]
        return (
            f"Inputs are spikes [T, B, ...] that a host makes of samples: {kind} code ({self.code.extra_repr()}), as "
            f"neurodeploy.dynamics.encodings.{type(self.code).__name__} does in evaluation; sample and test set too."
        )

    def inputs(self, samples: Tensor) -> Array:
        """Samples of the data set as the graph takes them."""
        encoded: Array = self._encoded(samples).numpy()
        return encoded

    def calibration(self, count: int) -> Array | None:
        """So many training samples as the graph takes them; None for 0."""
        return calibration_inputs(self.data, count, self._encoded)

    @property
    def test(self) -> tuple[Any, Array]:
        """The inputs and labels of the test set; where a host encodes, one batch after the other."""
        samples, labels = self.data.test_samples, self.data.test_labels.numpy()
        return (self.inputs(samples) if self.code is None else _Encoded(self)), labels

    def module(self, graph: Graph | None = None) -> GraphModule:
        """The deployed network, or another graph of it, in torch: takes samples of the data set."""
        return GraphModule(graph or self.graph, batch_first=self.data.timed, encoding=self.code)

    def _encoded(self, samples: Tensor) -> Tensor:
        if self.code is None:
            return self.data.sequences(samples)
        with torch.no_grad():
            spikes: Tensor = self.code(samples)
        return spikes


class _Encoded:
    """The test set as spikes `[T, N, …]`, which may be more than memory holds: a batch is encoded when it is asked for."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def __getitem__(self, index: tuple[slice, slice]) -> Array:
        steps, batch = index
        inputs: Array = self._deployment.inputs(self._deployment.data.test_samples[batch])[steps]
        return inputs


def deploy(network: nn.Module, data: DataSet) -> Deployment:
    """What exporters take of a trained network.

    Raises:
        UserError: it has no form as a graph; the message names the layer.
    """
    codes = {name: one for name, one in network.named_modules() if isinstance(one, PoissonEncoding | LatencyEncoding)}
    if not codes:
        return Deployment(fold_batch_norm(trace(network, data.sample_shape, timed=data.timed)), data)
    if len(codes) > 1:
        raise UserError(f"layer {list(codes)[1]}: a second code found, one expected, at the network's input")
    (name, code), without = *codes.items(), deepcopy(network)
    without.set_submodule(name, EventInput())
    graph = fold_batch_norm(trace(without, data.sample_shape, timed=True))
    return Deployment(graph, data, deepcopy(code).eval().cpu())
