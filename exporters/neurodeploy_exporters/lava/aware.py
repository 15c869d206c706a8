"""A convolution into whose kernel average pooling was folded, computed the other way round: the pool first.

The chip needs one kernel (`folding`); in training, summing the spikes of a window once is a fraction of the work. Windows do
not overlap, so the folded kernel repeats each weight over its window: both ways are the same sum, in integers exactly.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.nn.utils import parametrize

from neurodeploy.dynamics.layers import Conv2d, Neuron
from neurodeploy.graph import Graph, Partition, ops, partition
from neurodeploy.graph.grid import exponent, to_grid
from neurodeploy.graph.module import GraphModule, place
from neurodeploy.graph.ops import Node, Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.network import BIAS_MAX, WEIGHT_MAX
from neurodeploy_exporters.lava.quantize import NO_SPIKES_LEFT, QuantizedBody, quantize_body
from neurodeploy_exporters.lava.rounding import SUM_MAX
from neurodeploy_exporters.lava.wiring import stages
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.target import Tuning, TuningSettings


class PoolFirst(Conv2d):
    """Sums over windows, then a convolution, over `[T, B, C, H, W]`.

    Args:
        folded: the convolution that does both.
        window: `(y, x)`, as `window_of` finds it.
    """

    def __init__(self, folded: ops.ConvNode, window: Shape) -> None:
        (y, x), (outputs, inputs, *_) = window, folded.weight.shape
        weight = torch.from_numpy(folded.weight[:, :, ::y, ::x].copy())
        super().__init__(
            inputs * folded.groups,
            outputs,
            (weight.shape[2], weight.shape[3]),
            (folded.stride[0] // y, folded.stride[1] // x),
            (folded.padding[0] // y, folded.padding[1] // x),
            groups=folded.groups,
            bias=folded.bias is not None,
        )
        self.window = (y, x)
        self.weight = nn.Parameter(weight)
        if folded.bias is not None:
            self.bias = nn.Parameter(torch.from_numpy(folded.bias.copy()))

    def forward(self, x: Tensor) -> Tensor:
        sums = avg_pool2d(x.flatten(0, 1), self.window, divisor_override=1)
        return super().forward(sums.unflatten(0, x.shape[:2]))


def window_of(graph: Graph, folded: ops.ConvNode, weight: NDArray[Any]) -> Shape | None:
    """The pooling that alone was folded into a convolution; None if there is none, or its windows overlap.

    Args:
        graph: before folding; a convolution of the same name in it has the kernel without pooling.
        folded: the convolution that does both, whatever its weights.
        weight: what it does both with in float.
    """
    if folded.name not in graph:
        return None
    node = graph[folded.name]
    if not isinstance(node, ops.ConvNode) or len(node.stride) != 2 or _is_moved(graph, node):
        return None
    y, x = (after // before for after, before in zip(folded.stride, node.stride, strict=True))
    repeated = np.repeat(np.repeat(node.weight.astype(np.float64), y, 2), x, 3) / (y * x)
    same = y * x > 1 and repeated.shape == weight.shape and np.allclose(repeated, weight, rtol=1e-9, atol=0)
    return (y, x) if same else None


def _is_moved(graph: Graph, node: ops.Node) -> bool:
    """Whether more than pools and sums stand between a synapse and the spikes that it reads."""
    pending = list(node.inputs)
    while pending:
        source = graph[pending.pop()]
        if isinstance(source, ops.Moving):
            return True
        if not isinstance(source, ops.Spiking):
            pending += source.inputs
    return False


def unfolded(layer: Any, weight: NDArray[Any]) -> NDArray[Any]:
    """Of a folded kernel, what `layer` holds."""
    return weight[:, :, :: layer.window[0], :: layer.window[1]] if isinstance(layer, PoolFirst) else weight


def refolded(layer: Any) -> Tensor:
    """The kernel that does what `layer` does, its pooling folded in."""
    if not isinstance(layer, PoolFirst):
        return layer.weight
    return layer.weight.repeat_interleave(layer.window[0], 2).repeat_interleave(layer.window[1], 3)


_GRID_MAX = 127  # 8 bits and a sign
_SAME = 0.98  # a weight moved by up to 1 unit still rounds to the same even integer
_MARGIN = 0.999


def hard_reset(graph: Graph) -> Graph:
    """The same network, but for the spiking layers of its body, which reset to 0: the only reset of Loihi's neurons.

    Raises:
        UserError: there is no body.
    """
    body = partition(graph).body
    if body is None:
        raise UserError(NO_SPIKES_LEFT)

    def converted(node: Node) -> Node:
        if not isinstance(node, ops.NeuronNode) or node.name not in body.members:
            return node
        return replace(node, parameters=replace(node.parameters, reset="hard"))

    return Graph(map(converted, graph.nodes))


class LoihiAware(GraphModule):
    """A quantised network that learns.

    Args:
        graph: the network in float that was quantised, its batch norm folded, before any rounding.
        quantized: what `quantize_body` made of it.
        exact: the host's encoder is on the power-of-two grid (`neurodeploy.graph.grid`) and stays on it.
        neuron: gives all spiking layers its surrogate, and whether their reset is detached.
        batch_first: see `GraphModule`.
    """

    def __init__(
        self, graph: Graph, quantized: QuantizedBody, *, exact: bool, neuron: Neuron, batch_first: bool = False
    ) -> None:
        super().__init__(quantized.graph, batch_first=batch_first)
        self._trained, parts = graph, partition(graph)
        self.scales = {layer.name: float(np.max(layer.scale)) for layer in quantized.layers}
        for module in self.modules():
            if isinstance(module, Neuron):
                module.surrogate, module.detach_reset = neuron.surrogate, neuron.detach_reset
        assert parts.body is not None
        folded = {a.node.name: a.node.weight for stage in stages(graph, parts.body) for a in stage.afferents}
        for node in self.graph.of(ops.ConvNode):
            window = window_of(graph, node, folded[node.name]) if node.name in folded else None
            if window is not None:
                place(self, node.name, PoolFirst(node, window))
        self._populations = tuple(
            _Population({name: self.get_submodule(name) for name in _afferents(self.graph, layer)}, scale, folded)
            for layer, scale in self.scales.items()
        )
        hosted = [graph[name] for name in parts.encoder.members] if exact and parts.encoder is not None else []
        synapses = [node for node in hosted if isinstance(node, ops.ConvNode | ops.LinearNode)]
        self._encoder = tuple(_OnGrid(self.get_submodule(node.name), node.weight) for node in synapses)
        self.requires_grad_(True)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring weights that left the range of the chip's integers back to it; to be called after every update."""
        for population in self._populations:
            population.constrain()
        for synapse in self._encoder:
            synapse.constrain()

    @torch.no_grad()
    def tuned_graph(self) -> Graph:
        """The network in float with the weights of now, rounded: with `scales`, `quantize_body` makes of it what runs here."""
        scale_of = {name: population.scale for population in self._populations for name in population.names}

        def tuned(node: Node) -> Node:
            if isinstance(node, ops.FixedPointNeuronNode):
                return replace(self._trained[node.name], inputs=node.inputs)
            if not isinstance(node, ops.ConvNode | ops.LinearNode):
                return node
            layer: Any = self.get_submodule(node.name)
            weight, bias = (_array(value, scale_of.get(node.name, 1.0)) for value in (refolded(layer), layer.bias))
            return replace(node, weight=weight, bias=bias)

        return Graph(map(tuned, self.graph.nodes))


def _afferents(graph: Graph, name: str) -> tuple[str, ...]:
    """The synapses whose sums, and nothing else, a spiking layer reads."""
    synapses: list[str] = []
    pending = list(graph[name].inputs)
    while pending:
        source = pending.pop()
        if isinstance(graph[source], ops.AddNode):
            pending += graph[source].inputs
        else:
            synapses.append(source)
    return tuple(synapses)


def _array(value: Tensor | None, scale: float) -> Any:
    return None if value is None else (value.cpu().numpy().astype(np.float64) / scale).astype(np.float32)


class _Round(torch.autograd.Function):
    """To the nearest integer; the gradient goes straight through."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:
        return grad


class _Rounded(nn.Module):
    """`w ↦ step · round(w · scale / step) · unit`: a weight in float to what the network computes with."""

    def __init__(self, scale: float, step: int, unit: float = 1.0) -> None:
        super().__init__()
        self._into, self._out_of = scale / step, step * unit

    def forward(self, x: Tensor) -> Tensor:
        return _Round.apply(x * self._into) * self._out_of  # type: ignore[no-untyped-call]

    def right_inverse(self, value: Tensor) -> Tensor:
        return value / (self._into * self._out_of)


def _round_within(layer: Any, trained: Any, scale: float, unit: float = 1.0) -> None:
    """From now on `layer` computes with rounded weights (in steps of 2) and biases; what it has now are such ones.

    Args:
        layer: a convolution or linear layer.
        trained: its weight before it was rounded; what is kept begins as near to it as rounds to the same.
        scale, unit: a weight is `unit` times an integer, which is `scale` times what is kept.
    """
    whole = layer.weight.detach() / unit
    parametrize.register_parametrization(layer, "weight", _Rounded(scale, 2, unit))
    if layer.bias is not None:
        parametrize.register_parametrization(layer, "bias", _Rounded(scale, 1, unit))
    apart = torch.from_numpy(np.asarray(trained * scale, np.float32)) - whole
    _learned(layer, "weight").data.copy_((whole + apart.clamp(-_SAME, _SAME)) / scale)


def _learned(layer: Any, name: str) -> Tensor:
    """What `layer` keeps in float."""
    return layer.parametrizations[name].original


class _Population:
    """Neurons with one scale, and the synapses onto them, whose sums add up.

    Args:
        synapses: name → torch layer.
        scale: integer units per unit of the trained network.
        trained: name → weight in float, pooling folded in.
    """

    def __init__(self, synapses: Mapping[str, Any], scale: float, trained: Mapping[str, Any]) -> None:
        self.names, self.synapses, self.scale = tuple(synapses), tuple(synapses.values()), scale
        # an afferent that several parallel synapses carry holds so many times the largest weight
        parallel = [-(-int(layer.weight.abs().max()) // (WEIGHT_MAX + 2)) for layer in self.synapses]
        self._largest = [WEIGHT_MAX * count / scale for count in parallel]
        for name, layer in synapses.items():
            _round_within(layer, unfolded(layer, trained[name]), scale)

    def constrain(self) -> None:
        for layer, largest in zip(self.synapses, self._largest, strict=True):
            _learned(layer, "weight").clamp_(-largest, largest)
            if layer.bias is not None:
                _learned(layer, "bias").clamp_(-BIAS_MAX / self.scale, BIAS_MAX / self.scale)
        for sign in (1, -1):  # excitation, then inhibition
            while True:
                sums = torch.stack([part for layer in self.synapses for part in _row_sums(layer, sign)]).sum(0)
                if not sums.max() > SUM_MAX:  # nor where a weight is no number: the next loss tells
                    break
                self._shrink(sign, (_MARGIN * SUM_MAX / sums).clamp_max(1).where(sums > SUM_MAX, torch.ones_like(sums)))

    def _shrink(self, sign: int, factors: Tensor) -> None:
        """Multiply the weights of one sign, and the bias if it has it, by a factor per neuron or channel."""
        for layer in self.synapses:
            for name in ("weight", "bias")[: 1 + (layer.bias is not None)]:
                values = _learned(layer, name)
                values.copy_(torch.where(values * sign > 0, values * factors.view(-1, *(1,) * (values.ndim - 1)), values))


def _row_sums(layer: Any, sign: int) -> list[Tensor]:
    """Of all weights of one sign, and of the bias, at each neuron or channel `[C]`, in integers."""
    parts = [refolded(layer).flatten(1)] + ([] if layer.bias is None else [layer.bias.unsqueeze(1)])
    return [(part * sign).clamp_min(0).sum(1) for part in parts]


class _OnGrid:
    """A synapse of the host whose weights stay on the power-of-two grid that they are on; `trained` are those in float."""

    def __init__(self, layer: Any, trained: Any) -> None:
        self._layer, k = layer, exponent(layer.weight.detach().numpy())
        self._largest = _GRID_MAX * 2.0**-k
        _round_within(layer, trained, 2.0 ** (k + 1), 2.0 ** -(k + 1))

    def constrain(self) -> None:
        _learned(self._layer, "weight").clamp_(-self._largest, self._largest)


def _check_learns(graph: Graph) -> None:
    body = partition(graph).body
    for stage in () if body is None else stages(graph, body):
        if stage.integers is not None:
            raise UserError(
                f"node {stage.name}: it is in the chip's integers already, as SLAYER trained it; leave out --finetune"
            )
        if stage.returning is not None:
            raise UserError(
                f"node {stage.name}: its own spikes come back to it, with which fine-tuning does not compute; export the "
                "network without it"
            )
        if stage.current_decay:
            raise UserError(
                f"node {stage.name}: its synaptic current has a memory, with which fine-tuning does not compute; export the "
                "network without it"
            )


class LoihiTuning(Tuning):
    """See `TuningSettings`; `result` gives the tuned graph with the scales of its layers, which the exporter takes."""

    def __init__(self, graph: Graph, settings: TuningSettings) -> None:
        source = hard_reset(graph) if settings.reset else graph
        _check_learns(source)
        rounded = to_grid(source, input_bits=settings.input_bits) if settings.exact else source
        parts = partition(source)
        spikes, samples = None, settings.calibration
        if samples is not None and not settings.exact:
            spikes = entering_spikes(source, parts, samples, source.steps or len(samples))
        body = quantize_body(rounded, parts.body, calibration=spikes)
        self._batch_first = settings.batch_first
        self.start = GraphModule(body.graph, batch_first=settings.batch_first)
        self.module = LoihiAware(source, body, exact=settings.exact, neuron=settings.neuron, batch_first=settings.batch_first)

    def constrain(self) -> None:
        self.module.constrain()

    def result(self) -> tuple[Graph, dict[str, float], Any]:
        graph = self.module.tuned_graph()
        body = quantize_body(graph, partition(graph).body, scales=self.module.scales)
        return graph, self.module.scales, GraphModule(body.graph, batch_first=self._batch_first)


def entering_spikes(graph: Graph, parts: Partition, samples: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """What enters the body, `[T, B, …]`, for samples as the graph takes them."""
    assert parts.body is not None
    if parts.encoder is None:
        return samples
    encoder = Session(build(graph, parts.encoder, name="encoder"))
    return encoder.run({graph.input.name: samples}, steps=steps)[parts.body.inputs[0]]
