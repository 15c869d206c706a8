"""Networks as people write them in torch: each is followed, so that its graph computes what it computes, or refused by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from neurodeploy.dynamics.encodings import DirectEncoding, StaticInput
from neurodeploy.dynamics.layers import BatchNorm2d, Conv2d, Flatten, Neuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.tracing.rules import FUNCTIONS
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput

IMAGE, VECTOR = (3, 8, 8), (6,)


class Given(nn.Module):
    """A module with some layers and a forward."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._forward = forward

    def forward(self, x):
        return self._forward(self, x)


def settled(network: nn.Module) -> nn.Module:
    """With batch norms that have seen data."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def followed(network: nn.Module, shape: tuple[int, ...]) -> Graph:
    """Its graph, which is compared with it layer by layer, and in torch and numpy."""
    settled(network)
    x = torch.randn(5, *shape)
    with torch.no_grad():
        expected = network(x)
    graph = trace(network, shape)
    check_agreement(network, graph, x)
    torch.testing.assert_close(GraphModule(graph)(x), expected, atol=1e-5, rtol=1e-4)
    computed = torch.from_numpy(interpreter.run(graph, x.numpy())["logits"])
    torch.testing.assert_close(computed, expected, atol=1e-5, rtol=1e-4)
    return graph


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x):
        mean, deviation = self.weight.mean((1, 2, 3), keepdim=True), self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, (self.weight - mean) / (deviation + 1e-5), self.bias, self.stride, self.padding)


class Binary(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.sign() * self.weight.abs().mean(), self.bias)


class FakeQuantised(nn.Linear):
    def forward(self, x):
        return F.linear(x, torch.fake_quantize_per_tensor_affine(self.weight, 0.05, 0, -128, 127), self.bias)


class Doubled(BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Symmetric(nn.Module):
    def forward(self, w):
        return w + w.transpose(2, 3)


def with_hook(layer, hook, *, before=False):
    (layer.register_forward_pre_hook if before else layer.register_forward_hook)(hook)
    return layer


def with_forward(layer, forward):
    layer.forward = forward.__get__(layer)
    return layer


def parametrised():
    layer = nn.Conv2d(3, 4, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


def pruned():
    layer = nn.Conv2d(3, 4, 3)
    prune.random_unstructured(layer, "weight", 0.5)
    return layer


RELU = nn.ReLU()
HEAD = {"head": nn.Linear(4, 5)}


def image_then_head(layer):
    return nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


FOLLOWED = {
    "padding same": lambda: image_then_head(nn.Conv2d(3, 4, 4, padding="same", dilation=1)),
    "padding valid": lambda: image_then_head(nn.Conv2d(3, 4, 3, padding="valid")),
    "groups, stride and dilation": lambda: image_then_head(nn.Conv2d(3, 6, 3, 2, 2, dilation=2, groups=3, bias=False))[:1],
    "a transposed convolution": lambda: image_then_head(nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1)),
    "a transposed convolution of groups": lambda: nn.ConvTranspose2d(3, 6, 2, 2, groups=3),
    "weight standardisation": lambda: image_then_head(Standardised(3, 4, 3, padding=1)),
    "binary weights": lambda: image_then_head(Binary(3, 4, 3)),
    "old weight norm": lambda: image_then_head(nn.utils.weight_norm(nn.Conv2d(3, 4, 3))),
    "new weight norm": lambda: image_then_head(parametrizations.weight_norm(nn.Conv2d(3, 4, 3))),
    "spectral norm": lambda: image_then_head(nn.utils.spectral_norm(nn.Conv2d(3, 4, 3))),
    "a parametrisation": lambda: image_then_head(parametrised()),
    "pruned weights": lambda: image_then_head(pruned()),
    "a forward hook": lambda: image_then_head(with_hook(nn.Conv2d(3, 4, 3), lambda _m, _x, y: 3 * y - 1)),
    "a forward pre-hook": lambda: image_then_head(with_hook(nn.Conv2d(3, 4, 3), lambda _m, x: (x[0] / 2,), before=True)),
    "a hook that looks at a tensor, and not at its values": lambda: image_then_head(
        with_hook(nn.Conv2d(3, 4, 3), lambda _m, _x, y: y if y._version >= 0 and y.is_leaf in (True, False) else None)
    ),
    "a patched forward": lambda: image_then_head(
        with_forward(nn.Conv2d(3, 4, 3), lambda self, x: self._conv_forward(x, 2 * self.weight, None))
    ),
    "batch norm before the convolution": lambda: nn.Sequential(nn.BatchNorm2d(3), image_then_head(nn.Conv2d(3, 4, 3))),
    "batch norm without weights": lambda: image_then_head(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False))),
    "instance norm with running statistics": lambda: nn.InstanceNorm2d(3, track_running_stats=True),
    "functions alone": lambda: Given(
        lambda m, x: m.fc(F.dropout(F.max_pool2d(F.relu(m.conv(x)), 2), training=m.training).flatten(1)),
        conv=nn.Conv2d(3, 4, 3),
        fc=nn.Linear(36, 5),
    ),
    "view by size": lambda: Given(lambda m, x: m.fc(x.view(x.size(0), -1)), fc=nn.Linear(192, 5)),
    "view by shape": lambda: Given(lambda m, x: m.fc(x.reshape(x.shape[0], x.shape[1] * 64)), fc=nn.Linear(192, 5)),
    "view from the last axis": lambda: Given(lambda m, x: m.fc(x.view(-1, 3 * 8 * 8)), fc=nn.Linear(192, 5)),
    "one ReLU used often": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), RELU, nn.Conv2d(4, 4, 3), RELU, nn.Flatten(), nn.Linear(64, 5)
    ),
    "one layer used twice": lambda: Given(lambda m, x: m.conv(F.relu(m.conv(x))), conv=nn.Conv2d(3, 3, 3, padding=1)),
    "in place": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)),
    "a sum in place": lambda: Given(lambda m, x: F.relu_(m.conv(x).add_(x)), conv=nn.Conv2d(3, 3, 3, padding=1)),
    "a sum of a list": lambda: Given(lambda m, x: sum([m.a(x), m.b(x), x]), a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1)),
    "a sum into zeros": lambda: Given(
        lambda m, x: F.relu(torch.zeros(len(x), 3, 8, 8).add_(m.a(x)).add_(x)), a=nn.Conv2d(3, 3, 1)
    ),
    "a difference": lambda: Given(lambda m, x: m.a(x) - x, a=nn.Conv2d(3, 3, 1)),
    "a weighted sum": lambda: Given(lambda m, x: torch.add(m.a(x), x, alpha=0.5), a=nn.Conv2d(3, 3, 1)),
    "constants": lambda: Given(lambda m, x: m.a((2 * x - 1) / 3 + 0.5), a=nn.Conv2d(3, 4, 3)),
    "one minus": lambda: Given(lambda m, x: 1 - m.a(x), a=nn.Conv2d(3, 4, 3)),
    "normalisation by channel": lambda: Given(
        lambda m, x: m.a((x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)),
        a=nn.Conv2d(3, 4, 3, padding=1),
    ),
    "concatenation": lambda: Given(
        lambda m, x: m.c(torch.cat([m.a(x), F.relu(m.b(x)), x], 1)),
        a=nn.Conv2d(3, 2, 1),
        b=nn.Conv2d(3, 4, 1),
        c=nn.Conv2d(9, 5, 8),
    ),
    "layers side by side": lambda: Given(lambda m, x: torch.hstack([m.a(x), x]), a=nn.Conv2d(3, 2, 1)),
    "concatenation with zeros": lambda: Given(lambda m, x: m.a(torch.cat([x, torch.zeros_like(x)], 1)), a=nn.Conv2d(6, 2, 3)),
    "an option-A shortcut": lambda: Given(
        lambda m, x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)) + m.a(x), a=nn.Conv2d(3, 7, 3, 2, 1)
    ),
    "asymmetric padding": lambda: Given(lambda m, x: m.a(F.pad(x, (0, 1, 2, 0))), a=nn.Conv2d(3, 4, 3, 2)),
    "padding computed from the size": lambda: Given(
        lambda m, x: m.a(F.pad(x, (0, (-x.shape[-1] - 1) % 2, 0, (-x.shape[-2] - 1) % 2))), a=nn.Conv2d(3, 4, 3, 2)
    ),
    "cropping": lambda: Given(lambda m, x: m.a(F.pad(x, (-1, -2, 0, 1))), a=nn.Conv2d(3, 4, 3)),
    "zero padding layer": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 4, 3)),
    "chunks": lambda: Given(
        lambda m, x: (lambda y: m.b(y[0]) + y[1])(m.a(x).chunk(2, 1)), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(4, 4, 1)
    ),
    "a split of unequal parts": lambda: Given(lambda m, x: torch.cat(m.a(x).split([1, 3], 1)[::-1], 1), a=nn.Conv2d(3, 4, 3)),
    "an index": lambda: Given(lambda m, x: m.a(x)[:, 1, :, -1], a=nn.Conv2d(3, 4, 3)),
    "channel shuffle": lambda: Given(
        lambda m, x: m.a(x).view(-1, 2, 2, 6, 6).transpose(1, 2).reshape(-1, 4, 6, 6), a=nn.Conv2d(3, 4, 3)
    ),
    "permute": lambda: Given(lambda m, x: m.fc(m.a(x).permute(0, 2, 3, 1)), a=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 5)),
    "pools with padding": lambda: nn.Sequential(
        nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.AvgPool2d(2, 2, 1)
    ),
    "pools in ceil mode": lambda: nn.Sequential(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, ceil_mode=True)),
    "adaptive pools": lambda: nn.Sequential(nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d((2, None))),
    "a mean over pixels": lambda: Given(lambda m, x: m.fc(x.mean((2, 3))), fc=nn.Linear(3, 5)),
    "a mean over pixels that keeps axes": lambda: Given(lambda m, x: m.a(x.mean([2, 3], keepdim=True)), a=nn.Conv2d(3, 5, 1)),
    "two means": lambda: Given(lambda m, x: m.fc(x.mean(-1).mean(-1)), fc=nn.Linear(3, 5)),
    "a sum over pixels": lambda: Given(lambda m, x: m.fc(x.sum((-2, -1))), fc=nn.Linear(3, 5)),
    "a maximum over pixels": lambda: Given(lambda m, x: m.fc(x.amax((2, 3))), fc=nn.Linear(3, 5)),
    "a mean over channels": lambda: Given(lambda m, x: m.a(x).mean(1), a=nn.Conv2d(3, 4, 3)),
    "ReLU6": lambda: image_then_head(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6())),
    "clamps": lambda: Given(
        lambda m, x: m.a(x).clamp(min=0) + m.a(x).clamp(0, 0.5) + torch.maximum(x, torch.zeros(())), a=nn.Conv2d(3, 3, 1)
    ),
    "a quoted device": lambda: Given(
        lambda m, x: m.a(x.to(next(m.parameters()).device).float().contiguous()), a=nn.Conv2d(3, 4, 3)
    ),
    "a model of one's own class": lambda: nn.Sequential(nn.Identity(), nn.Dropout2d(), nn.Conv2d(3, 4, 3)),
}


@pytest.mark.parametrize("kind", FOLLOWED)
def test_it_is_followed_and_computes_the_same(kind):
    torch.manual_seed(0)
    followed(FOLLOWED[kind](), IMAGE)


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (lambda: nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), FakeQuantised(9, 3)), VECTOR),
        (lambda: Given(lambda m, x: F.relu(x @ m.a.weight.T + m.a.bias), a=nn.Linear(6, 4)), VECTOR),
        (lambda: Given(lambda m, x: torch.mm(x, m.a.weight.t()), a=nn.Linear(6, 4)), VECTOR),
        (lambda: Given(lambda m, x: torch.addmm(m.a.bias, x, m.a.weight.t()), a=nn.Linear(6, 4)), VECTOR),
        (lambda: nn.Sequential(nn.Conv1d(2, 4, 5, 2, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(16, 3)), (2, 16)),
        (lambda: Given(lambda m, x: m.a(x.unsqueeze(1)).mean(-1), a=nn.Conv1d(1, 4, 3)), VECTOR),
        (lambda: nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), nn.ReLU(), nn.AvgPool3d(2), nn.Flatten()), (2, 5, 5, 5)),
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)), (5, 6)),
    ],
)
def test_vectors_sequences_and_volumes_are_followed(network, shape):
    torch.manual_seed(0)
    followed(network(), shape)


def test_layers_keep_their_names_and_functions_are_named_after_the_layer_that_calls_them():
    network = Given(lambda m, x: F.relu(m.conv(x) + x), conv=nn.Conv2d(3, 3, 1))
    graph = trace(nn.Sequential(network, network), IMAGE)
    names = ["input", "0.conv", "0.add", "0.relu", "0.conv_2", "0.add_2", "0.relu_2", "logits"]
    assert [node.name for node in graph.nodes] == names


def test_a_batch_norm_subclass_of_the_toolkit_is_followed():
    torch.manual_seed(0)
    network = settled(nn.Sequential(StaticInput(), Conv2d(3, 4, 3), Doubled(4), Flatten(), nn.Linear(144, 3), TimeMean()))
    graph, x = trace(network, IMAGE), torch.randn(4, *IMAGE)
    check_agreement(network, graph, x)
    assert [node.kind for node in graph.nodes[2:4]] == ["BatchNorm", "BatchNorm"]
    torch.testing.assert_close(GraphModule(graph)(x), network(x))


class Late(Neuron):
    """Fires one step later than it should."""

    def forward(self, current):
        spikes = super().forward(current)
        return torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]])


class Renamed(Neuron):
    """The same neuron with another constructor."""

    def __init__(self, threshold: float) -> None:
        super().__init__(NeuronParameters(0.5, threshold))

    @property
    def description(self) -> str:
        return "a new name, which computes nothing"


def spiking(neuron: nn.Module) -> nn.Module:
    return nn.Sequential(StaticInput(), Conv2d(3, 4, 3), DirectEncoding(3), neuron, Flatten(), nn.Linear(144, 3), TimeMean())


def test_a_neuron_subclass_with_another_forward_is_refused_by_its_name():
    with pytest.raises(UserError, match=r"in layer 3 \(.*Late, which is no Neuron: it overrides forward\)"):
        trace(spiking(Late(NeuronParameters(0.5, 0.5))), IMAGE)


def test_a_neuron_subclass_that_overrides_nothing_is_its_base():
    graph = trace(spiking(Renamed(0.3)), IMAGE)
    assert graph.of(ops.NeuronNode)[0].parameters == NeuronParameters(0.5, 0.3)


def test_a_neuron_with_a_patched_forward_is_refused_and_hooks_around_it_are_followed():
    patched = with_forward(Neuron(NeuronParameters(0.5, 0.5)), lambda _self, x: x)
    assert not trace(spiking(patched), IMAGE).spiking
    hooked = spiking(with_hook(Neuron(NeuronParameters(0.5, 0.5)), lambda _m, _x, y: 2 * y))
    graph, x = trace(hooked, IMAGE), torch.randn(4, *IMAGE)
    check_agreement(hooked, graph, x)
    torch.testing.assert_close(GraphModule(graph)(x), hooked(x))


class Cosine(nn.Linear):
    def forward(self, x):
        return F.linear(F.normalize(x), F.normalize(self.weight))


class Compiled(nn.Module):
    """What it computes is out of torch's sight."""

    def forward(self, x):
        return torch.from_numpy(x.detach().numpy() * 2)


class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Heaviside(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return (x > 0).float()


REFUSED = {
    "a cosine classifier": (
        lambda: nn.Sequential(nn.Flatten(), Cosine(192, 3)),
        r"operation normalize in layer 1 \(.*Cosine\)",
    ),
    "layer norm": (lambda: nn.LayerNorm([3, 8, 8]), "operation layer_norm in LayerNorm: .* cannot be folded"),
    "group norm": (lambda: nn.Sequential(nn.GroupNorm(1, 3)), r"layer 0 \(torch.nn.modules.normalization.GroupNorm\): "),
    "GELU": (lambda: nn.Sequential(nn.GELU()), "layer 0 .*GELU.*: has no form in a graph; a graph has ReLU alone"),
    "log softmax": (lambda: Given(lambda _m, x: F.log_softmax(x.flatten(1), 1)), "operation log_softmax .* answer the logits"),
    "a gate over other channels": (
        lambda: Given(lambda m, x: x * m.a(x), a=nn.Conv2d(3, 3, 3)),
        "operation mul .*: multiplies|does not run",
    ),
    "a branch on values": (
        lambda: Given(lambda _m, x: x + 1 if x.sum((1, 2, 3)).max() > 0 else x),
        "reduces|reads values|all axes",
    ),
    "numpy": (Compiled, "operation numpy in Compiled"),
    "a state that stays": (Counts, "Counts: computes something else .* in every run"),
    "a custom spike": (lambda: Given(lambda _m, x: Heaviside.apply(x)), "operation gt in Given: .* neurons"),
    "dropout that never ends": (lambda: Given(lambda _m, x: F.dropout(x)), "drops values in evaluation mode too"),
    "the last step": (
        lambda: Given(lambda m, x: m.n(m.c(x.unsqueeze(0)))[-1], c=DirectEncoding(3), n=Neuron(NeuronParameters())),
        "takes a part of the time steps; .* mean over time",
    ),
    "a constant for every pixel": (lambda: Given(lambda _m, x: x + torch.arange(8.0)), "differs between positions"),
    "another pad": (lambda: nn.Sequential(nn.ReflectionPad2d(1)), 'layer 0 .*: pads with mode "reflect"'),
    "a script": (lambda: nn.Sequential(torch.jit.script(nn.ReLU())), "layer 0 .*: is compiled"),
    "a mix of the batch": (lambda: Given(lambda _m, x: x.transpose(0, 1)), "moves the batch"),
    "half precision": (lambda: Given(lambda _m, x: x.half()), r"answers torch.float16, torch.float32 expected"),
    "weights in double precision": (
        lambda: nn.Sequential(nn.Conv2d(3, 2, 3)).double(),
        r"layer 0 .*: tensor 0.weight is torch.float64, torch.float32 expected; call .float\(\) on the module",
    ),
    "weights without values": (lambda: nn.Conv2d(3, 2, 3, device="meta"), 'tensor weight: on the device "meta"'),
    "weights without a shape": (lambda: nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()), "layer 0: .* no shape yet"),
    "a wrong number of channels": (
        lambda: nn.Sequential(nn.Conv2d(4, 2, 3)),
        r"layer 0 .*: does not run on samples \(2, 3, 8, 8\)",
    ),
    "a value that is set": (lambda: Given(lambda _m, x: x.clone().index_fill_(1, torch.tensor([0]), 0.0)), "index_fill"),
    "no tensor": (
        lambda: Given(lambda _m, _x: (1, None)),
        "its output is tuple, .* wrap it in a module that returns its logits",
    ),
    "an answer that is constant": (
        lambda: Given(lambda _m, x: torch.zeros(len(x), 3)),
        "cannot be followed back",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_by_name(kind):
    make, message = REFUSED[kind]
    with pytest.raises(UserError, match=message):
        trace(make(), IMAGE)


def test_a_tensor_that_was_changed_through_a_view_is_refused():
    def forward(m, x):
        y = m.a(x)
        y.view(-1, 4, 36).relu_()
        return y

    with pytest.raises(UserError, match="changed in place, in another view of its memory; leave inplace out"):
        trace(Given(forward, a=nn.Conv2d(3, 4, 3)), IMAGE)


def test_a_branch_that_other_samples_take_is_named_by_the_comparison():
    network = Given(lambda m, x: m.a(x) * (2 if m.large else 1), a=nn.Conv2d(3, 4, 3))
    network.large = False
    graph = trace(network, IMAGE)
    network.large = True
    with pytest.raises(UserError, match="Given: does something else on samples 0 to 4 than when it was traced"):
        check_agreement(network, graph, torch.randn(5, *IMAGE))


def test_the_first_layer_that_differs_is_named_with_step_sample_and_neuron(monkeypatch):
    torch.manual_seed(0)
    network = image_then_head(nn.Conv2d(3, 4, 3)).eval()
    monkeypatch.setitem(FUNCTIONS, "relu", lambda c, x, **_: c.node(ops.ReluNode, x, ceiling=0.5))  # a wrong rule
    message = r"layer 1: step 0, sample \d, neuron \(\d, \d, \d\): [\d.]+ in the module, 0\.5 in its graph; "
    with pytest.raises(UserError, match=message):
        check_agreement(network, trace(network, IMAGE), torch.randn(3, *IMAGE))


def test_rounding_of_a_call_that_became_several_nodes_is_no_difference():
    torch.manual_seed(0)
    network = nn.Linear(4, 4)
    x = torch.rand(1, 4).repeat(3, 1)[:, None].repeat(1, 2, 1)
    with torch.no_grad():  # sums that all but cancel: their rounding is that of their terms
        network.bias.copy_(-(x[0, 0] @ network.weight.T) * (1 - 1e-6))
    graph = trace(network, (2, 4))
    assert [node.kind for node in graph.nodes][1:-1] == ["Permute", "Conv", "Permute"]
    check_agreement(network, graph, x)


def test_a_network_that_has_no_features_answers_with_an_empty_tensor_of_them():
    network = Given(lambda m, x: NetworkOutput(m.a(x), m.a(x)[None], x.new_zeros(1, len(x), 0), {}), a=nn.Linear(6, 4))
    assert [node.kind for node in trace(nn.Sequential(network), VECTOR).nodes][1] == "Linear"


def test_weights_that_changed_since_the_trace_are_named():
    network = image_then_head(nn.Conv2d(3, 4, 3)).eval()
    graph = trace(network, IMAGE)
    with torch.no_grad():
        network[0].bias[2] += 1
    with pytest.raises(UserError, match="node 0: field bias differs"):
        check_agreement(network, graph, torch.randn(3, *IMAGE))


def test_a_module_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU()).train()
    network[1].eval()
    own = with_forward(nn.Identity(), lambda _self, x: x + 1)
    network.append(own)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    patched = own.forward
    trace(network, IMAGE)
    assert [module.training for module in network] == [True, False, True, True, True]
    assert own.forward is patched
    assert all("forward" not in vars(module) for module in network[:4])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_what_torch_compiles_is_followed():
    torch.manual_seed(0)
    network = torch.compile(image_then_head(nn.Conv2d(3, 4, 3)).eval())
    assert [node.kind for node in trace(network, IMAGE).nodes][1:3] == ["Conv", "Relu"]
