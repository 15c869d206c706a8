"""Spiking twins of networks as people write them: whatever their layers are called, and wherever they pool."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import neurodeploy as nd
from neurodeploy.conversion import TracedNetwork
from neurodeploy.conversion.traced import relu_graph
from neurodeploy.graph import ops
from neurodeploy.networks import classifier_of


class Vgg(nn.Module):
    """Its classifier is a sequence of layers, whose last one makes the logits."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(64, 6), nn.ReLU(True), nn.Linear(6, 3))

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class AllConvolutional(nn.Module):
    """No linear layer makes its logits."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return F.adaptive_avg_pool2d(F.relu(self.last(F.relu(self.first(x)))), 1).flatten(1)


class Temporal(nn.Module):
    """A causal convolution that cuts what it padded too much, and a normalisation of its own samples."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv1d(2, 4, 3, padding=2), nn.Linear(4, 3)
        self.register_buffer("mean", torch.tensor([0.4, 0.6]).view(1, 2, 1))

    def forward(self, x):
        return self.last(F.relu(self.conv((x - self.mean) / 0.25)[:, :, :-2])[:, :, -1])


class Residual(nn.Module):
    """A sum of the samples themselves and of spikes."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        for layer in (self.one, self.other):
            x = x + F.relu(layer(x))
        return self.last(x)


NETWORKS = {
    "vgg": (Vgg, (2, 8, 8)),
    "no classifier": (AllConvolutional, (2, 6, 6)),
    "cut": (Temporal, (2, 9)),
    "sum": (Residual, (6,)),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_twin_is_deployed_on_the_exact_grid_and_its_bundle_fires_its_spikes(kind, tmp_path):
    torch.manual_seed(0)
    network, shape = NETWORKS[kind]
    ann, x = network().eval(), torch.rand(12, *shape)
    twin = nd.spiking(ann, x, steps=4)
    model = nd.deploy(twin, x)
    with torch.no_grad():
        torch.testing.assert_close(model.module(x), twin(x).logits, rtol=1e-5, atol=1e-5)
    found = nd.verify(nd.export(model, "onnx", tmp_path / "onnx", quantize="exact", samples=4))
    assert found.passed
    assert found.mismatches == 0


@pytest.mark.parametrize("kind", ["vgg", "cut"])
def test_thresholds_behind_a_max_pool_or_a_cut_are_in_the_weights_before_it(kind):
    torch.manual_seed(0)
    network, shape = NETWORKS[kind]
    ann, x = network().eval(), torch.rand(8, *shape)
    graph = nd.deploy(nd.spiking(ann, x, steps=2), x).graph
    first = graph.of(ops.ConvNode)[0].name
    assert not [norm for norm in graph.of(ops.BatchNormNode) if first in graph.ancestors(norm.name)]


def test_the_classifier_is_the_layer_that_makes_the_logits_whatever_it_is_called():
    x = torch.rand(4, 2, 8, 8)
    traced = TracedNetwork(relu_graph(Vgg().eval(), x)).eval()
    output = traced(x)
    torch.testing.assert_close(classifier_of(traced)(output.features[0]), output.logits)
    assert classifier_of(TracedNetwork(relu_graph(AllConvolutional(), x))) is None
    network = nn.Sequential()
    network.classifier = nn.Linear(2, 2)
    assert classifier_of(network) is network.classifier


@pytest.mark.parametrize("name", ["encoding", "steps", "graph"])
def test_a_layer_whose_name_the_twin_uses_itself_is_refused_before_it_is_replaced(name):
    network = nn.Sequential()
    network.add_module(name, nn.Linear(6, 4))
    network.add_module("act", nn.ReLU())
    network.add_module("last", nn.Linear(4, 3))
    with pytest.raises(nd.UserError, match=f"layer {name}: {name} is an attribute of SpikingTwin; rename the layer"):
        nd.spiking(network, torch.rand(8, 6), steps=2)


def test_the_twin_of_a_compiled_module_is_deployed():
    ann = torch.compile(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)))
    x = torch.rand(6, 6)
    twin = nd.spiking(ann, x, steps=2)
    assert twin.spiking == ("_orig_mod.1",)
    with torch.no_grad():
        torch.testing.assert_close(nd.deploy(twin, x).module(x), twin(x).logits)
