"""A ReLU network as its graph has it: in torch again, trainable, and answering with all that loss terms read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neurodeploy.conversion import bfloat16
from neurodeploy.dynamics.recomputation import ends, recomputed
from neurodeploy.dynamics.scaling import Affine
from neurodeploy.graph import Graph, fold_batch_norm, ops
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.module import place
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.io.values import as_samples
from neurodeploy.networks import NetworkOutput

_COMPARED = 64  # samples
_BATCH = 50  # samples
_ATTRIBUTES = frozenset(
    (
        *("graph", "activations", "classifier_name", "spiking", "steps", "repact", "code", "reset", "learn_threshold"),
        *("encoding", "evaluate_after", "precharge", "notes", "levels", "quantized"),
    )
)
"""Of a traced network and its twin: no layer can have these names."""


class TracedNetwork(nn.Module):
    """Computes a graph with a layer for each of its nodes, under the node's name.

    Its answer is a `NetworkOutput`: `taps` are the outputs of its activations, by the names of their nodes; `features` are what
    the layer `classifier_name` reads. A twin of it (`neurodeploy.conversion.twin`) has the same names.

    Args:
        graph: of static samples, with batch norm folded.
        classifier: name of the node that makes logits of features; the last one, if it is a linear layer, if None.

    Raises:
        UserError: no such node, or a layer has a name that the network itself uses.
    """

    evaluate_after: int = 0
    recompute: bool = False
    """In training, only what leaves a layer of neurons, or passes it by, is kept for the backward pass."""

    def __init__(self, graph: Graph, *, classifier: str | None = None) -> None:
        super().__init__()
        self.graph = graph
        self.activations = tuple(node.name for node in graph.of(ops.ReluNode))
        for node in graph.nodes:
            if not isinstance(node, ops.InputNode | ops.OutputNode):
                self._check_name(node.name)
                place(self, node.name, self.layer_of(node))
        self.classifier_name = _classifier(graph, classifier)

    def _check_name(self, name: str) -> None:
        first = name.partition(".")[0]
        if first in _ATTRIBUTES or hasattr(type(self), first):
            raise UserError(f"layer {name}: {first} is an attribute of {type(self).__name__}; rename the layer in your module")

    def layer_of(self, node: ops.Node) -> nn.Module:
        """A node's layer, with weights that learn; what normalises the samples stays as it is."""
        if isinstance(node, ops.BatchNormNode):
            affine = Affine(torch.from_numpy(node.scale.copy()), torch.from_numpy(node.shift.copy()))
            before = (self.graph[name] for name in self.graph.ancestors(node.name))
            return affine.requires_grad_(any(isinstance(one, ops.Weighted) for one in before))
        layer = node.layer()
        return layer.requires_grad_() if isinstance(node, ops.Weighted) else layer

    @property
    def taught(self) -> tuple[str, ...]:
        """The activations that are no plain ReLUs."""
        return ()

    def graph_now(self) -> Graph:
        """The graph with the weights as they are now; its nodes keep their names."""
        return Graph(
            _with_weights(node, self.get_submodule(node.name)) if isinstance(node, ops.Weighted | ops.BatchNormNode) else node
            for node in self.graph.nodes
        )

    def forward(self, samples: Tensor) -> NetworkOutput:
        """`[B, *shape]` → logits `[B, K]`, step logits `[T, B, K]`, features `[T, B, F]` (F = 0 without a classifier).

        Logits are the mean over the steps after the first `evaluate_after`.
        """
        values, taps = self._computed(samples)
        step_logits = values[self.graph.output.inputs[0]]
        features = step_logits.new_zeros((*step_logits.shape[:2], 0))
        if self.classifier_name is not None:
            features = values[self.graph[self.classifier_name].inputs[0]]
        return NetworkOutput(step_logits[self.evaluate_after :].mean(0), step_logits, features, taps)

    def _computed(self, samples: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        if self.recompute and torch.is_grad_enabled():
            return self._kept(samples)
        narrow = bfloat16.is_wanted(samples) and self.suits_bfloat16 and not self._is_watched
        return self._in_bfloat16(samples) if narrow else self.computed(samples)

    @property
    def _is_watched(self) -> bool:
        """Whether a layer that is no activation has a hook, which `conversion.bfloat16` would not call."""
        return any(
            module._forward_pre_hooks or (module._forward_hooks and name not in self.activations)
            for name, module in self.named_modules()
            if module is not self
        )

    @property
    def suits_bfloat16(self) -> bool:
        """Whether all of it can be trained in bfloat16 by `conversion.bfloat16`."""
        return False

    def scaled_activation(self, name: str, current: bfloat16.ScaledValue) -> tuple[bfloat16.ScaledValue, bfloat16.ScaledValue]:
        """What an activation makes of a current, and its tap; where `suits_bfloat16`."""
        raise NotImplementedError

    def _in_bfloat16(self, samples: Tensor) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """`computed` in bfloat16; the values are those that the answer is made of."""
        values, taps = dict[str, bfloat16.ScaledValue | Tensor](), dict[str, tuple[bfloat16.ScaledValue, int]]()
        last = self.graph.output.inputs[0]
        wanted = {last, *(self.graph[last].inputs if self.classifier_name is not None else ())}
        with torch.autocast("cpu", enabled=False):
            for node in self.graph.nodes:
                if isinstance(node, ops.InputNode):
                    values[node.name] = self.entry(samples.float())
                elif node.name in self.taught:
                    value, tap = self.scaled_activation(node.name, bfloat16.as_scaled(values[node.inputs[0]]))
                    values[node.name], taps[node.name] = value, (tap, 2 + len(self.graph.shape(node.name)))
                elif not isinstance(node, ops.OutputNode):
                    reads = [values[source] for source in node.inputs]
                    values[node.name] = bfloat16.computed(self.get_submodule(node.name), node, reads, self._axes(node.inputs))
            full = {
                name: value if isinstance(value, Tensor) else value.full(self._axes([name])[0])
                for name, value in values.items()
                if name in wanted
            }
        return full, bfloat16.LazyTaps(taps)

    def _axes(self, names: Sequence[str]) -> list[int]:
        """Number of axes of `[T, B, …]`."""
        return [2 + len(self.graph.shape(name)) for name in names]

    def computed(self, samples: Tensor, *, until: str | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Node → its tensor `[T, B, *shape]`, and the taps; up to and with the node `until`."""
        values, taps = dict[str, Tensor](), dict[str, Tensor]()
        for node in self.graph.nodes:
            self._compute(node, samples, values, taps)
            if node.name == until:
                break
        return values, taps

    def _compute(self, node: ops.Node, samples: Tensor, values: dict[str, Tensor], taps: dict[str, Tensor]) -> None:
        """Add what a node makes."""
        if isinstance(node, ops.InputNode):
            values[node.name] = self.entering(node.name, self.entry(samples))
        elif not isinstance(node, ops.OutputNode):
            reads = [values[source] for source in node.inputs]
            values[node.name] = self.entering(node.name, self.called(node.name, reads, taps))

    def _kept(self, samples: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`computed`, where what lies between layers of neurons is computed again in the backward pass."""
        nodes, values, taps = list(self.graph.nodes), dict[str, Tensor](), dict[str, Tensor]()
        start = 0
        for stop in ends([number for number, node in enumerate(nodes, 1) if node.name in self.activations]):
            part, after = nodes[start:stop], nodes[stop:]
            own = {node.name for node in part}
            reads = sorted({source for node in part for source in node.inputs} - own)
            wanted = {source for node in after for source in node.inputs}
            if self.classifier_name is not None:
                wanted.update(self.graph[self.classifier_name].inputs)
            run = partial(self._segment, part, reads, sorted(own & wanted))
            layers = (self.get_submodule(node.name) for node in part if not isinstance(node, ops.InputNode | ops.OutputNode))
            made, found = recomputed(run, [samples, *(values[name] for name in reads)], layers)
            values, start = {name: value for name, value in (values | made).items() if name in wanted}, stop
            taps |= found
        for node in nodes[start:]:
            self._compute(node, samples, values, taps)
        return values, taps

    def _segment(
        self, nodes: Sequence[ops.Node], reads: Sequence[str], wanted: Sequence[str], samples: Tensor, *given: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What nodes make of values that they read, as far as others want it, and their taps."""
        values, taps = dict(zip(reads, given, strict=True)), dict[str, Tensor]()
        for node in nodes:
            self._compute(node, samples, values, taps)
        return {name: values[name] for name in wanted}, taps

    def answers_of(self, layer: str, samples: Tensor) -> Iterator[Tensor]:
        """What a layer answers to samples, `[T, b, …]` batch after batch."""
        for batch in samples.split(_BATCH):
            values, _ = self.computed(batch, until=layer)
            yield values[layer]

    def entry(self, samples: Tensor) -> Tensor:
        """Samples as the first layer reads them, `[1, B, …]`."""
        return samples.unsqueeze(0)

    def entering(self, name: str, value: Tensor) -> Tensor:  # noqa: ARG002
        """What the nodes after `name` read of it."""
        return value

    def called(self, name: str, reads: list[Tensor], taps: dict[str, Tensor]) -> Tensor:
        """What a node makes of what it reads; an activation is a tap."""
        value: Tensor = self.get_submodule(name)(*reads)
        if name in self.activations:
            taps[name] = value
        return value


def _with_weights(node: ops.Weighted | ops.BatchNormNode, layer: Any) -> ops.Node:
    weight = layer.weight.detach().cpu().numpy().copy()
    bias = None if layer.bias is None else layer.bias.detach().cpu().numpy().copy()
    if isinstance(node, ops.BatchNormNode):
        assert bias is not None
        return replace(node, scale=weight, shift=bias)
    return replace(node, weight=weight, bias=bias)


def traced_network(ann: nn.Module, samples: Tensor, *, classifier: str | None = None) -> TracedNetwork:
    """Trace a ReLU network, compare the graph with it on samples, and fold its batch norms.

    Args:
        ann: left as it is.
        samples: `[N, …]` as it takes them.
        classifier: see `TracedNetwork`.

    Returns:
        In evaluation mode, on the CPU.

    Raises:
        UserError: no samples or values that are not finite; the network does something that has no form in a graph.
    """
    return TracedNetwork(relu_graph(ann, samples), classifier=classifier).eval()


def relu_graph(ann: nn.Module, samples: Tensor) -> Graph:
    """The graph of a ReLU network, compared with it, batch norm folded; see `traced_network`."""
    name = type(ann).__name__
    if samples.ndim < 2 or len(samples) == 0:
        raise UserError(f"samples: shape {list(samples.shape)} found, [N, …] with at least 1 sample expected")
    as_samples(samples, "samples", axes=2, keep=True)
    graph = trace(ann, tuple(samples.shape[1:]))
    if graph.spiking:
        raise UserError(f"{name}: its layer {graph.spiking[0]} is spiking already; a ReLU network is expected")
    check_agreement(ann, graph, samples[:_COMPARED])
    return fold_batch_norm(graph)


def _classifier(graph: Graph, name: str | None) -> str | None:
    last = graph[graph.output.inputs[0]]
    if name is None:
        return last.name if isinstance(last, ops.LinearNode) else None
    if name != last.name or not isinstance(last, ops.Weighted):
        raise UserError(f"classifier {name!r}: {last.name} ({last.kind}) makes the logits; the linear layer that does expected")
    return name
