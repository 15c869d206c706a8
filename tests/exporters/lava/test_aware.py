"""Training in the chip's integers: every spike in torch is the simulated chip's, before and after the weights have changed."""

import numpy as np
import pytest
import torch

from neurodeploy.dynamics.layers import FixedPointNeuron, Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.surrogates import Rectangle
from neurodeploy.graph import Graph, fold_batch_norm, ops, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import lava
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.lava.aware import LoihiAware, PoolFirst, hard_reset
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.quantize import QuantizedBody, quantize_body
from neurodeploy_exporters.lava.rounding import SUM_MAX

PROTOTYPE = Neuron(NeuronParameters(), Rectangle())


def aware(graph: Graph, *, exact: bool = False) -> LoihiAware:
    body = quantize_body(to_grid(graph) if exact else graph, partition(graph).body)
    return LoihiAware(graph, body, exact=exact, neuron=PROTOTYPE)


def written(module: LoihiAware) -> QuantizedBody:
    """What the exporter makes of the network that the module has learned."""
    graph = module.tuned_graph()
    return quantize_body(graph, partition(graph).body, scales=module.scales)


def fired(module: GraphModule, x: torch.Tensor) -> dict[str, np.ndarray]:
    """Spikes of every layer, and the logits."""
    found: dict[str, np.ndarray] = {}
    handles = [
        layer.register_forward_hook(lambda _, __, spikes, name=name: found.update({name: spikes.detach().numpy()}))
        for name, layer in module.named_modules()
        if isinstance(layer, Neuron)
    ]
    found |= {module.graph.input.name: x.numpy(), "logits": module(x).detach().numpy()}
    for handle in handles:
        handle.remove()
    return found


def check_against_the_chip(module: LoihiAware, x: np.ndarray, *, busy: bool = True) -> dict[str, np.ndarray]:
    found, body = fired(module, torch.from_numpy(x)), written(module)
    entering = found[partition(body.graph).body.inputs[0]]
    replay = run_sequence(body.network, entering)
    for layer in body.layers:
        spikes = replay.spikes_of(layer.key, layer.shape)
        np.testing.assert_array_equal(found[layer.name], spikes, err_msg=layer.name)
        assert 0.01 < spikes.mean() < 0.99 if busy else spikes.any()
    return found


def learn(module: LoihiAware, x: np.ndarray, labels: np.ndarray, rate: float, steps: int = 4) -> list[float]:
    optimizer, losses = torch.optim.SGD(module.parameters(), lr=rate), []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        module.constrain()
        losses.append(loss.item())
    return losses


def pooled() -> Graph:
    """Events of digits → convolution → average pooling → linear with bias, twice; the first convolution without a bias."""
    rng = np.random.default_rng(0)

    def neuron(name, source, threshold, decay):
        return ops.NeuronNode(name=name, inputs=(source,), parameters=NeuronParameters(decay, threshold, "hard"))

    def linear(name, source, outputs, inputs):
        weight, bias = rng.normal(0, 1 / inputs**0.5, (outputs, inputs)), rng.normal(0.1, 0.1, outputs)
        return ops.LinearNode(name=name, inputs=(source,), weight=weight.astype(np.float32), bias=bias.astype(np.float32))

    plan = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}
    weight = rng.normal(0, 0.4, (4, 1, 3, 3)).astype(np.float32)
    return Graph(
        [
            ops.InputNode(name="x", shape=(1, 8, 8), timed=True),
            ops.ConvNode(name="conv", inputs=("x",), weight=weight, **plan),
            neuron("n1", "conv", 0.3, 0.77),
            ops.AvgPoolNode(name="pool", inputs=("n1",), kernel=(2, 2), stride=(2, 2)),
            ops.FlattenNode(name="flat", inputs=("pool",)),
            linear("fc1", "flat", 20, 64),
            neuron("n2", "fc1", 0.25, 0.9),
            linear("fc2", "n2", 20, 20),
            neuron("n3", "fc2", 0.25, 0.0),
            linear("classifier", "n3", 10, 20),
            ops.TimeMeanNode(name="mean", inputs=("classifier",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("repact", [False, True])
@pytest.mark.parametrize("kind", ["conv", "resnet"])
def test_every_spike_is_the_chips_before_and_after_learning(graph, digits, kind, exact, repact):
    module, (x, labels) = aware(graph(kind, "hard", repact), exact=exact), digits
    before = check_against_the_chip(module, x[:50])
    losses = learn(module, x, labels, 0.1, steps=8)
    assert min(losses[1:]) < losses[0]
    after = check_against_the_chip(module, x[:50])
    assert all((before[layer] != after[layer]).any() for layer in module.scales)


@pytest.mark.parametrize(
    "name", ["vgg plain", "vgg batch-norm", "conv-linear", "resnet12", "resnet20-wide", "resnet sew", "resnet1d"]
)
def test_every_kind_of_network_fires_as_on_the_chip_while_it_learns(name, small_named, spiking):
    small = small_named(name)
    network = small.build(spiking(decay=0.5, threshold=0.25), trained=True)
    module = aware(fold_batch_norm(trace(network, small.shape)))
    x = np.random.default_rng(0).random((6, *small.shape), np.float32)
    learn(module, x, np.arange(6), 0.03)
    check_against_the_chip(module, x, busy=False)


@pytest.mark.parametrize(
    ("window", "stride", "first"), [((2, 2), (2, 2), True), ((3, 1), (3, 1), True), ((2, 2), (1, 1), False)]
)
def test_pooling_folded_into_a_convolution_is_computed_first_where_its_windows_do_not_overlap(digits, window, stride, first):
    rng = np.random.default_rng(1)
    plan = {"stride": (1, 2), "padding": (1, 0) if first and window == (2, 2) else (0, 0), "dilation": (1, 1), "groups": 2}
    pool = ops.AvgPoolNode(name="pool", inputs=("x",), kernel=window, stride=stride)
    members = [
        ops.InputNode(name="x", shape=(2, 8, 8), timed=True),
        pool,
        ops.ConvNode(name="conv", inputs=("pool",), weight=rng.normal(0.2, 1, (6, 1, 2, 3)).astype(np.float32), **plan),
        ops.NeuronNode(name="n", inputs=("conv",), parameters=NeuronParameters(0.5, 0.5, "hard")),
        ops.FlattenNode(name="flat", inputs=("n",)),
    ]
    size = Graph([*members, ops.OutputNode(name="o", inputs=("flat",))]).shape("flat")[0]
    classifier = ops.LinearNode(name="fc", inputs=("flat",), weight=rng.normal(0, 0.3, (10, size)).astype(np.float32))
    mean = ops.TimeMeanNode(name="mean", inputs=("fc",))
    module = aware(Graph([*members, classifier, mean, ops.OutputNode(name="logits", inputs=("mean",))]))
    assert isinstance(module.get_submodule("conv"), PoolFirst) == first
    x = (digits[0][:40].repeat(2, 1)[None] > rng.random((5, 40, 2, 8, 8))).astype(np.float32)
    before = written(module).graph["conv"].weight
    check_against_the_chip(module, x)
    learn(module, x, digits[1][:40], 0.1)
    check_against_the_chip(module, x)
    assert (written(module).graph["conv"].weight != before).any()


def test_events_pooling_and_linear_layers_with_biases_fire_as_on_the_chip_before_and_after_learning(digits):
    module = aware(pooled())
    x = np.repeat((digits[0] > 0.4)[None], 7, axis=0).astype(np.float32)
    check_against_the_chip(module, x[:, :30])
    losses = learn(module, x, digits[1], 0.02, steps=6)
    assert losses[-1] < losses[0]
    check_against_the_chip(module, x[:, :30])


@pytest.mark.parametrize("exact", [False, True])
def test_the_start_is_the_quantised_network_itself_and_what_it_keeps_are_the_trained_weights(graph, digits, exact):
    source = graph("conv")
    rounded = to_grid(source) if exact else source
    body, module = quantize_body(rounded, partition(source).body), aware(source, exact=exact)
    for name, step in (("conv1", 2.0**-6), ("conv2", 2 / module.scales["act2"]), ("conv3", 2 / module.scales["act3"])):
        kept = module.get_submodule(name).parametrizations["weight"].original if exact or name != "conv1" else None
        if kept is not None:
            away = np.abs(kept.detach().numpy() - source[name].weight)
            assert away.max() < (0.011 if not exact else 1) * step
            assert (away < 1e-6).mean() > 0.9
    x = torch.from_numpy(digits[0][:50])
    assert all(np.array_equal(one, fired(GraphModule(body.graph), x)[name]) for name, one in fired(module, x).items())
    again = written(module)
    assert [layer.scale for layer in again.layers] == [layer.scale for layer in body.layers]
    for one, other in zip(again.graph.nodes, body.graph.nodes, strict=True):
        if isinstance(one, ops.ConvNode | ops.LinearNode):
            assert np.array_equal(one.weight, other.weight)
            assert (one.bias is None) == (other.bias is None)


def test_the_module_computes_with_the_integers_that_are_written(graph, digits):
    module = aware(graph("conv"))
    learn(module, *digits, 0.05)
    body = written(module)
    assert isinstance(module.get_submodule("act2"), FixedPointNeuron)
    for name in ("conv2", "conv3"):
        synapse, node = module.get_submodule(name), body.graph[name]
        assert np.array_equal(synapse.weight.detach().numpy(), node.weight)
        assert np.array_equal(synapse.bias.detach().numpy(), node.bias)
        assert np.array_equal(node.weight % 2, np.zeros_like(node.weight))


def test_the_weights_move_by_less_than_a_step_without_a_change_of_the_integers(graph, digits):
    module = aware(graph("conv"))
    before = written(module).graph["conv2"].weight
    learn(module, *digits, 1e-9, steps=1)
    assert np.array_equal(written(module).graph["conv2"].weight, before)
    kept = module.get_submodule("conv2").parametrizations["weight"].original
    assert (kept.grad != 0).any()


def test_an_exact_encoder_stays_on_the_grid_while_it_learns(graph, digits):
    module = aware(graph("conv"), exact=True)
    before = module.get_submodule("conv1").weight.detach().clone()
    learn(module, *digits, 0.5)
    tuned = module.tuned_graph()
    assert (module.get_submodule("conv1").weight != before).any()
    assert np.array_equal(to_grid(tuned)["conv1"].weight, tuned["conv1"].weight)
    assert np.array_equal(to_grid(tuned)["conv1"].bias, tuned["conv1"].bias)


@pytest.mark.parametrize("exact", [False, True])
def test_weights_that_leave_the_chips_range_are_brought_back(graph, digits, exact):
    module = aware(graph("conv"), exact=exact)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 3
    module.constrain()
    body = written(module)  # refuses what the chip cannot hold
    assert any(np.abs(body.graph[name].weight).max() == 254 for name in ("conv2", "conv3"))
    check_against_the_chip(module, digits[0][:10])
    if exact:
        to_grid(module.tuned_graph())


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_that_could_wrap_are_brought_below_the_bound_for_the_neurons_concerned_alone(sign):
    weight = np.full((2, 700), sign, np.float32)
    weight[1, :] *= 0.1
    bias = np.array([sign, 0], np.float32)
    neuron = ops.NeuronNode(name="n", inputs=("fc",), parameters=NeuronParameters(0.5, 5.0, "hard"))
    graph = Graph(
        [
            ops.InputNode(name="x", shape=(700,), timed=True),
            ops.LinearNode(name="fc", inputs=("x",), weight=weight, bias=bias),
            neuron,
            ops.TimeMeanNode(name="mean", inputs=("n",)),
            ops.OutputNode(name="out", inputs=("mean",)),
        ]
    )
    module = aware(graph)
    layer = module.get_submodule("fc")
    with torch.no_grad():
        layer.parametrizations["weight"].original *= 1.3
    module.constrain()
    rows = (layer.weight.sum(1) + layer.bias).detach().abs()
    assert 0.9 * SUM_MAX < rows[0] <= SUM_MAX
    assert rows[1] == pytest.approx(0.13 * 700 * module.scales["n"], abs=700)  # each weight is rounded by 1 at most
    written(module)


def test_weights_that_are_no_numbers_do_not_stop_the_clock(graph):
    module = aware(graph("conv"))
    with torch.no_grad():
        module.get_submodule("conv2").parametrizations["weight"].original[0, 0, 0, 0] = torch.nan
    module.constrain()
    assert module.get_submodule("conv2").weight.isnan().any()


def test_only_the_bodys_soft_resets_become_hard_ones(graph):
    source = graph("conv", "soft")
    resets = {node.name: node.parameters.reset for node in hard_reset(source).of(ops.NeuronNode)}
    assert resets == {"act1": "soft", "act2": "hard", "act3": "hard"}
    assert all(one is other for one, other in zip(hard_reset(source).nodes, source.nodes, strict=True) if one.name == "conv2")
    alone = Graph(
        [
            ops.InputNode(name="x", shape=(2,)),
            ops.EncodeNode(name="encode", inputs=("x",), steps=3),
            ops.NeuronNode(name="n", inputs=("encode",), parameters=NeuronParameters(0.5, 0.5, "soft")),
            ops.TimeMeanNode(name="mean", inputs=("n",)),
            ops.OutputNode(name="out", inputs=("mean",)),
        ]
    )
    with pytest.raises(UserError, match="body: only the first layer spikes"):
        hard_reset(alone)


@pytest.mark.parametrize("quantize", ["none", "exact"])
def test_a_tuned_network_is_exported_with_the_integers_that_it_learned_with(graph, digits, tmp_path, quantize):
    x, labels = digits
    module = aware(graph("conv"), exact=quantize == "exact")
    learn(module, x, labels, 0.02)
    tuned = module.tuned_graph()
    folder = lava.export(tuned, x[:20], tmp_path / "b", name="n", quantize=quantize, test=(x, labels), tuned=module.scales)
    bundle = read_bundle(folder)
    expected = fired(module, torch.from_numpy(x))
    for layer, spikes in bundle.sample().spikes.items():
        if layer != "act1" or quantize == "exact":
            assert np.array_equal(spikes, expected[layer][:, :20])
    right = int((expected["logits"].argmax(-1) == labels).sum())
    assert bundle.manifest.accuracy["exported"].correct == pytest.approx(right, abs=0 if quantize == "exact" else 1)


def test_integers_beyond_the_chips_at_a_scale_given_are_refused_by_name(graph):
    source = graph("conv")
    scales = {layer.name: 1e3 * layer.scale for layer in quantize_body(source, partition(source).body).layers}
    with pytest.raises(UserError, match=r"node act2: at the scale [\d.]+ its integers are beyond Loihi's"):
        quantize_body(source, partition(source).body, scales=scales)
