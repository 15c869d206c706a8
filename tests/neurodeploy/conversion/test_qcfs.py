"""Networks with activations of few levels: the activation as printed, what a twin of as many steps makes of it, checkpoints."""

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.conversion import Method, Qcfs, QcfsNetwork
from neurodeploy.io.errors import UserError


def dense(*, last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    hidden = (nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 12), last or nn.ReLU())
    return nn.Sequential(*hidden, nn.Linear(12, 3)).eval()


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    features = (nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(32, 5)).eval()


DRAWN = torch.Generator().manual_seed(0)
VECTORS, IMAGES = torch.randn(60, 6, generator=DRAWN), torch.rand(20, 2, 8, 8, generator=DRAWN)


@pytest.mark.parametrize("levels", [1, 4, 7])
def test_the_activation_is_the_printed_one(levels):
    layer, x = Qcfs(levels), torch.randn(2, 5, 3, 4) * 2
    with torch.no_grad():
        layer.log_threshold.fill_(np.log(1.3))
    printed = 1.3 / levels * np.clip(np.floor(x.double().numpy() * levels / 1.3 + 0.5), 0, levels)
    np.testing.assert_allclose(layer(x).detach().numpy(), printed, rtol=1e-6)


def test_its_gradient_takes_the_floor_for_the_identity():
    layer = Qcfs(4)
    with torch.no_grad():
        layer.log_threshold.fill_(np.log(2.0))
    x = torch.tensor([[[-0.4, 0.3, 1.2, 1.9, 2.6]]], requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert x.grad.tolist() == [[[0.0, 1.0, 1.0, 1.0, 0.0]]]
    # dy/dθ = (y − x [0 ≤ x ≤ θ]) / θ, and dθ/dlnθ = θ
    inside = torch.where((x >= 0) & (x <= 2), x, 0.0)
    assert layer.log_threshold.grad.item() == pytest.approx((y - inside).sum().item(), abs=1e-6)


def test_a_threshold_of_each_channel_meets_its_channel():
    layer = Qcfs(2, channels=3)
    with torch.no_grad():
        layer.log_threshold.copy_(torch.tensor([1.0, 2.0, 4.0]).log())
    assert layer(torch.full((1, 1, 3, 2, 2), 9.0))[0, 0, :, 0, 0].tolist() == pytest.approx([1, 2, 4])


@pytest.mark.parametrize(("network", "samples"), [(dense(), VECTORS), (convolutional(), IMAGES)])
def test_with_many_levels_it_answers_what_the_relu_network_answers(network, samples):
    quantized = nd.qcfs(network, samples, levels=4096, percentile=100)
    torch.testing.assert_close(quantized(samples).logits, network(samples), atol=2e-3, rtol=0)


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_twin_of_as_many_steps_counts_the_levels_of_its_first_layer(steps):
    """A constant current, θ/2 added over T steps: the count is the level, for every neuron."""
    quantized = nd.qcfs(dense(), VECTORS, levels=steps)
    twin = nd.spiking(quantized, VECTORS, steps=steps, method=Method("levels", shift=True))
    counts = twin(VECTORS).taps["1"].sum(0)
    levels = quantized(VECTORS).taps["1"][0] / quantized.thresholds["1"] * steps
    assert (counts - levels).abs().max() < 1e-4
    assert counts.max() == steps
    assert counts.min() == 0


@pytest.mark.parametrize("repact", [False, True])
def test_the_twin_has_the_thresholds_and_weights_of_the_network_as_they_are_now(repact):
    quantized = nd.qcfs(dense(), VECTORS, levels=4, repact=repact)
    with torch.no_grad():
        for weight in quantized.parameters():
            weight.mul_(1.25)
    twin = nd.spiking(quantized, VECTORS, steps=4)
    assert twin.repact == repact
    assert twin.reset == "soft"
    assert twin.spiking == (("1",) if repact else ("1", "3"))
    assert twin.thresholds == pytest.approx(quantized.thresholds)
    assert torch.equal(twin.get_submodule("0").weight, quantized.get_submodule("0").weight)
    assert nd.spiking(quantized, VECTORS, steps=4, reset="hard").reset == "hard"


class Averaging(nn.Module):
    """Its mean over the pixels is a layer of the graph, whose name is none of a module here."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.last = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x):
        return self.last(torch.relu(self.bn(self.conv(x)) * 1.5).mean((2, 3)))


def test_the_twin_of_a_network_that_averages_pixels_has_its_weights_as_they_are_now():
    torch.manual_seed(0)
    quantized = nd.qcfs(Averaging().eval(), IMAGES, levels=64)
    with torch.no_grad():
        for weight in quantized.parameters():
            weight.mul_(1.1)
    twin = nd.spiking(quantized, IMAGES, steps=64)
    assert [node.name for node in twin.graph.nodes] == [node.name for node in quantized.graph.nodes]
    torch.testing.assert_close(twin(IMAGES).logits, quantized(IMAGES).logits, atol=0.05, rtol=0)


def test_the_gradient_is_that_of_autograd_through_the_printed_formula():
    """With thresholds of the layer and of each channel; in float64, away from the ends of the clip."""
    for channels in (None, 3):
        layer = Qcfs(4, channels).double()
        with torch.no_grad():
            layer.log_threshold.copy_(torch.linspace(0.2, 0.6, len(layer.log_threshold)))
        x = torch.randn(2, 5, 3, 4, 4, dtype=torch.float64, generator=DRAWN).mul_(2).requires_grad_()
        weight = torch.randn(x.shape, dtype=torch.float64, generator=DRAWN)
        (layer(x) * weight).sum().backward()
        log_threshold, y = layer.log_threshold.detach().clone().requires_grad_(), x.detach().clone().requires_grad_()
        threshold = log_threshold.exp().reshape(-1, 1, 1)
        scaled = y * 4 / threshold
        clipped = scaled.clamp(0, 4)
        printed = (clipped + ((scaled + 0.5).floor().clamp(0, 4) - clipped).detach()) * threshold / 4
        (printed * weight).sum().backward()
        torch.testing.assert_close(layer(x), printed)
        torch.testing.assert_close(x.grad, y.grad)
        torch.testing.assert_close(layer.log_threshold.grad, log_threshold.grad)


def test_a_ceiling_bounds_the_first_threshold():
    quantized = nd.qcfs(dense(last=nn.Hardtanh(0, 0.1)), VECTORS, levels=4, percentile=100)
    assert quantized.thresholds["3"] == pytest.approx(0.1)


def test_training_it_leaves_the_network_alone_and_a_checkpoint_makes_it_again(tmp_path):
    network = dense()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    labels = network(VECTORS).argmax(1)
    quantized = nd.qcfs(network, VECTORS, levels=2)
    first = quantized.thresholds
    nd.distill(quantized, network, (VECTORS, labels), epochs=2, folder=tmp_path / "run", progress=False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert quantized.thresholds != first
    again = nd.load(tmp_path / "run" / "checkpoint.safetensors").module
    assert isinstance(again, QcfsNetwork)
    assert (again.levels, again.repact, again.classifier_name) == (2, False, "4")
    assert torch.equal(again(VECTORS).logits, quantized(VECTORS).logits)
    assert nd.spiking(again, VECTORS, steps=2).thresholds == pytest.approx(quantized.thresholds)


def test_what_it_cannot_be_is_refused():
    with pytest.raises(UserError, match="levels: 0 found, a whole number from 1 to 4096 expected"):
        nd.qcfs(dense(), VECTORS, levels=0)
    with pytest.raises(UserError, match="percentile: 0 found"):
        nd.qcfs(dense(), VECTORS, percentile=0)
    silent = dense()
    with torch.no_grad():
        silent[2].bias.fill_(-1e3)
    with pytest.raises(UserError, match="layer 3: none of 60 calibration samples drives it above 0"):
        nd.qcfs(silent, VECTORS)
    with pytest.raises(UserError, match=r'"levels" found, but the network has no QCFS activations; see neurodeploy\.qcfs'):
        nd.spiking(dense(), VECTORS, method=Method("levels"))
    with pytest.raises(UserError, match="no ReLU found"):
        nd.qcfs(nn.Sequential(nn.Linear(6, 3)), VECTORS)
