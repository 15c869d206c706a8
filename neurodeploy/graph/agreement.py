"""Whether a graph computes what the module computes that it was made of: every spike and every logit, on samples.

Both run in float64. There the sums of a layer, which the two may take in another order, differ by less than 10⁻¹², so that a
spike that differs is another computation and no rounding.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.module import GraphModule
from neurodeploy.io.errors import UserError

_TOLERANCE = 1e-9  # relative, of logits in float64


def check_agreement(network: nn.Module, graph: Graph, samples: Tensor, *, batch_first: bool) -> int:
    """Hold a graph against the module that it was traced from.

    Args:
        network: the user's module, left as it was.
        graph: traced from it, before batch norm is folded or a weight rounded.
        samples: as the module takes them.
        batch_first: sequences are `[B, T, …]`.

    Returns:
        Number of values (neuron, step, sample) of spiking layers that were compared; all are equal.

    Raises:
        UserError: the module does not run on the samples, or a spike or logit differs: the first layer, step and neuron.
    """
    own = deepcopy(network).double().eval()
    other = _in_double(graph, own, batch_first=batch_first)
    try:
        expected, answer = _recorded(own, graph.spiking, samples.double())
    except UserError:
        raise
    except Exception as error:  # the user's forward may raise anything
        raise UserError(f"{type(network).__name__}: does not run on samples {tuple(samples.shape)}: {error}") from None
    spikes, logits = _recorded(other, graph.spiking, samples.double())
    for layer in graph.spiking:
        if layer not in expected:
            raise UserError(f"layer {layer}: never called by {type(network).__name__}, though its graph has it")
        _check_layer(layer, expected[layer], spikes[layer])
    far = (answer - logits).abs().max().item() if answer.shape == logits.shape else float("inf")
    if not far <= _TOLERANCE * max(1.0, answer.abs().max().item()):
        raise UserError(
            f"{type(network).__name__}: its logits differ from those of its graph by up to {far:.3g}; a layer or the forward "
            "computes something that the graph has not"
        )
    return sum(spikes.numel() for spikes in expected.values())


def _in_double(graph: Graph, network: nn.Module, *, batch_first: bool) -> GraphModule:
    """The graph in float64. A graph holds a batch norm as two float32 constants; here they get back the digits that they lost.

    Raises:
        UserError: the constants are not those of the module's layer.
    """
    module = GraphModule(graph, batch_first=batch_first).double()
    for node in graph.of(ops.BatchNormNode):
        norm, layer = network.get_submodule(node.name), module.get_submodule(node.name)
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_mean is None or norm.running_var is None:
            continue
        scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
        shift = (0 if norm.bias is None else norm.bias) - norm.running_mean * scale
        for name, exact, kept in (("scale", scale, node.scale), ("shift", shift, node.shift)):
            if not np.array_equal(exact.detach().numpy().astype(np.float32), kept):
                raise UserError(f"layer {node.name}: its {name} differs from that of its graph")
        layer.weight, layer.bias = (nn.Parameter(exact.detach(), requires_grad=False) for exact in (scale, shift))
    return module


def _check_layer(layer: str, expected: Tensor, found: Tensor) -> None:
    if expected.shape != found.shape:
        raise UserError(f"layer {layer}: {tuple(expected.shape)} found in the module, {tuple(found.shape)} in its graph")
    wrong = torch.nonzero(expected != found)
    if len(wrong):
        step, sample, *neuron = wrong[0].tolist()
        raise UserError(
            f"layer {layer}: step {step}, sample {sample}, neuron {tuple(neuron)}: the module fires "
            f"{expected[tuple(wrong[0])].item():g}, its graph {found[tuple(wrong[0])].item():g}; {len(wrong):,} of "
            f"{expected.numel():,} spikes differ: a layer or the forward computes something that the graph has not"
        )


def _recorded(module: nn.Module, layers: tuple[str, ...], samples: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """What some layers give, and the logits."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            seen[name] = output

        return hook

    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in layers]
    try:
        with torch.no_grad():
            answer = module(samples)
    finally:
        for handle in handles:
            handle.remove()
    return seen, getattr(answer, "logits", answer)
