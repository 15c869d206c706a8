"""Small ReLU networks drawn at random, written in many ways: the graph computes what the module computes."""

from math import log
from typing import Any

import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from neurodeploy.conversion import SpikingTwin
from neurodeploy.graph import fold_batch_norm, fold_scales, interpreter, ops
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace

SIZES = st.integers(1, 3)


class Drawn(nn.Module):
    """Steps over a list of tensors; each reads some of them and adds one."""

    def __init__(self, steps: list[Any], classes: int) -> None:
        super().__init__()
        self.steps, self.classes = steps, classes
        self.layers = nn.ModuleList(layer for _, layer in steps if isinstance(layer, nn.Module))
        self.head = nn.LazyLinear(classes)

    def forward(self, x: Tensor) -> Tensor:
        tensors = [x]
        for function, layer in self.steps:
            tensors.append(function(layer, tensors))
        return self.head(torch.flatten(tensors[-1], 1))


def pick(tensors: list[Tensor], number: int) -> Tensor:
    return tensors[number % len(tensors)]


def same_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Cropped to the smaller of the two."""
    height, width = (min(a.shape[axis], b.shape[axis]) for axis in (2, 3))
    return a[:, :, :height, :width], b[:, :, :height, :width]


@st.composite
def a_step(draw, channels: list[int]) -> tuple[Any, Any]:
    """A function of the tensors so far, whose channels are listed, and its layer; adds the channels of what it makes."""
    source, other = draw(st.integers(0, len(channels) - 1)), draw(st.integers(0, len(channels) - 1))
    width, kind = channels[source], draw(st.sampled_from(KINDS))
    match kind:
        case "conv":
            groups = draw(st.sampled_from([g for g in (1, 2, 3) if width % g == 0]))
            made, kernel = groups * draw(SIZES), draw(SIZES)
            padding = draw(st.sampled_from(["same", "valid", 0, 1, 2])) if kernel < 3 else draw(st.sampled_from(["same", 1, 2]))
            stride = 1 if padding == "same" else draw(st.integers(1, 2))
            layer: Any = nn.Conv2d(width, made, kernel, stride, padding, groups=groups, bias=draw(st.booleans()))
            channels.append(made)
            return lambda m, t: m(t[source]), layer
        case "norm":
            channels.append(width)
            return lambda m, t: m(t[source]), nn.BatchNorm2d(width)
        case "relu":
            channels.append(width)
            form = draw(
                st.sampled_from(
                    [F.relu, torch.relu, lambda x: x.clamp(min=0), lambda x: F.relu(x.clone(), inplace=True), F.relu6]
                )
            )
            return lambda _m, t: form(t[source]), None
        case "pool":
            layer = draw(st.sampled_from([nn.AvgPool2d, nn.MaxPool2d]))(
                2, draw(SIZES), draw(st.integers(0, 1)), ceil_mode=draw(st.booleans())
            )
            channels.append(width)
            return lambda m, t: m(F.pad(t[source], (0, 1, 0, 1))), layer
        case "pad":
            pads = draw(st.lists(st.integers(0, 2), min_size=4, max_size=6).filter(lambda p: len(p) != 5))
            channels.append(width + sum(pads[4:]))
            return lambda _m, t: F.pad(t[source], pads), None
        case "add":
            channels.append(min(width, channels[other]))

            def add(_m: Any, t: list[Tensor]) -> Tensor:
                a, b = same_size(t[source], t[other])
                few = min(a.shape[1], b.shape[1])
                return a[:, :few] + b[:, :few]

            return add, None
        case "cat":
            channels.append(width + channels[other])
            return lambda _m, t: torch.cat(same_size(t[source], t[other]), 1), None
        case "scale":
            factor, offset = draw(st.sampled_from([0.5, -1.0, 3.0])), draw(st.sampled_from([0.0, 1.0, -0.25]))
            channels.append(width)
            return lambda _m, t: offset + t[source] * factor, None
        case "split":
            channels.append(width - width // 2)
            return lambda _m, t: t[source].split(max(1, width // 2), 1)[-1] if width > 1 else t[source], None
        case _:
            channels.append(width)
            return (
                lambda _m, t: t[source].transpose(2, 3).contiguous().view(t[source].shape[0], -1, *t[source].shape[:1:-1]),
                None,
            )


KINDS = ("conv", "conv", "norm", "relu", "relu", "pool", "pad", "add", "cat", "scale", "split", "transpose")


@st.composite
def modules(draw) -> tuple[nn.Module, tuple[int, ...]]:
    channels = [draw(st.integers(1, 4))]
    shape = (channels[0], draw(st.integers(5, 9)), draw(st.integers(5, 9)))
    steps: list[Any] = []
    for _ in range(draw(st.integers(2, 7))):
        step = draw(a_step(channels))
        steps.append(step)
        if channels[-1] == 0:
            channels[-1] = 1
    return Drawn(steps, draw(st.integers(2, 4))), shape


def settled(network: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """Samples that the network takes, and batch norms that have seen data."""
    torch.manual_seed(0)
    x = torch.randn(3, *shape)
    try:
        network(x)
    except RuntimeError:  # a kernel larger than what is left, and no network at all
        reject()
    for module in network.eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return x


@given(modules(), st.booleans(), st.floats(0.3, 3.0))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_spiking_twin_is_deployed_with_its_spikes_and_nothing_but_synapses_between_them(drawn, repact, threshold):
    network, shape = drawn
    x = settled(network, shape)
    graph = fold_batch_norm(trace(network, shape))
    if not graph.of(ops.ReluNode):
        return
    twin = SpikingTwin(graph, steps=3, repact=repact).eval()
    for name in twin.spiking:
        twin.in_thresholds(name).log_threshold.data.fill_(log(threshold))
        twin.in_thresholds(name).offset.data.uniform_(-0.1, 0.2)
    own = trace(twin, shape)
    check_agreement(twin, own, x)
    folded = fold_scales(own)
    module, fired = GraphModule(folded), {}
    for name in folded.spiking:
        module.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: fired.update({name: y}))
    with torch.no_grad():
        logits, output = module(x), twin(x)
    differing = sum(int((fired[name] != output.taps[name]).sum()) for name in folded.spiking)
    if differing == 0:  # a spike that rounding moves may move many others
        torch.testing.assert_close(logits, output.logits, atol=1e-3, rtol=1e-3)
    assert differing <= 0.01 * sum(spikes.numel() for spikes in fired.values())
    for neuron in folded.spiking:
        for name in folded.ancestors(neuron):
            node = folded[name]
            assert not (isinstance(node, ops.BatchNormNode) and len(folded.shape(name)) > 1 and node.inputs != ("input",))


@given(modules())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_a_graph_computes_what_the_module_computes(drawn):
    network, shape = drawn
    x = settled(network, shape)
    with torch.no_grad():
        expected = network(x)
    graph = trace(network, shape)
    check_agreement(network, graph, x)
    for one in (graph, fold_batch_norm(graph)):
        computed = torch.from_numpy(interpreter.run(one, x.numpy())["logits"])
        torch.testing.assert_close(computed, expected, atol=1e-4, rtol=1e-3)
