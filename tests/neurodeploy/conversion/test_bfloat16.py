"""Training in bfloat16: what a network of levels or neurons computes is what it computes in float32, up to the rounding."""

import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional

import neurodeploy as nd
from neurodeploy.conversion import bfloat16
from neurodeploy.dynamics.kernels import native
from neurodeploy.training.rates import FiringRates

pytestmark = pytest.mark.skipif(not any(map(shutil.which, native._COMPILERS)), reason="the kernel in C needs a C compiler")


class Shortcut(nn.Module):
    """A strided residual block with zeros for the new channels, another with a convolution of one pixel, and pools."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.one, self.two = nn.Conv2d(8, 16, 3, 2, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=2)
        self.three, self.beside = nn.Conv2d(16, 8, 3, 2), nn.Conv2d(16, 8, 1, 2)
        self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = self.norm(self.two(torch.relu(self.one(x))))
        x = torch.relu(y + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
        x = torch.relu(self.three(functional.pad(x, (0, 1, 0, 1))) + self.beside(x))
        return self.head(functional.avg_pool2d(x, 4).flatten(1))


def plain(*layers):
    return nn.Sequential(*layers)


NETWORKS = {
    "residual": Shortcut,
    "max pools": lambda: plain(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 9, 3), nn.BatchNorm2d(9), nn.MaxPool2d(2)),
        *(nn.ReLU(), nn.Flatten(), nn.Linear(81, 20), nn.ReLU(), nn.Linear(20, 5)),
    ),
    "average pools": lambda: plain(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(), nn.Flatten()),
        nn.Linear(12 * 9, 5),
    ),
}


def trained(network, x, y, *, narrow):
    """Logits, gradients and taps of one pass."""
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        answer = network(x)
    functional.cross_entropy(answer.logits, y).backward()
    gradients = {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}
    return answer, gradients


def made(name, kind, **options):
    torch.manual_seed(3)
    ann = NETWORKS[name]()
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    x = torch.rand(32, 3, 16, 16)
    levels = nd.qcfs(ann.eval(), x, levels=options.pop("levels", 4))
    network = levels if kind == "levels" else nd.spiking(levels, x, learn_threshold=True, **options)
    return network.train(), x, torch.arange(32) % 5


CASES = [
    *((name, "levels", {}) for name in NETWORKS),
    *((name, "neurons", {"steps": 4}) for name in NETWORKS),
    ("residual", "neurons", {"steps": 1, "levels": 1}),
    ("residual", "neurons", {"steps": 6, "reset": "hard"}),
    ("residual", "neurons", {"steps": 4, "repact": True}),
    ("residual", "neurons", {"steps": 4, "precharge": True}),
]


@pytest.mark.parametrize(("name", "kind", "options"), CASES)
def test_a_pass_in_bfloat16_answers_and_learns_what_one_in_float32_does(name, kind, options):
    network, x, y = made(name, kind, **dict(options))
    assert network.suits_bfloat16
    (answer, gradients), (wide, expected) = (trained(network, x, y, narrow=narrow) for narrow in (True, False))
    assert set(gradients) == set(expected)
    assert answer.logits.dtype == answer.features.dtype == torch.float32
    assert answer.step_logits.shape == wide.step_logits.shape
    assert answer.features.shape == wide.features.shape
    assert (answer.logits - wide.logits).abs().mean() < 0.05 * wide.logits.abs().mean()
    found, wanted = (torch.cat([each[name].flatten() for name in sorted(each)]) for each in (gradients, expected))
    # currents that bfloat16 makes equal share a window's maximum, whose gradient goes to one of them
    assert functional.cosine_similarity(found, wanted, 0) > (0.9 if name == "max pools" else 0.97)
    assert list(answer.taps) == list(wide.taps)
    for layer, tap in answer.taps.items():
        assert tap.shape == wide.taps[layer].shape
        differ = (tap - wide.taps[layer]).abs() > 0.02 * wide.taps[layer].abs().max()
        assert differ.float().mean() < 0.05


def test_terms_that_read_spikes_get_gradients_through_them():
    network, x, _ = made("residual", "neurons", steps=4)
    sums = []
    for narrow in (True, False):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            taps = network(x).taps
        sum(tap.float().mean() for tap in taps.values()).backward()
        sums.append(torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]))
    assert functional.cosine_similarity(*sums, dim=0) > 0.95


def test_firing_rates_are_counted_as_in_float32():
    network, x, y = made("residual", "neurons", steps=4)
    found = []
    for narrow in (True, False):
        rates = FiringRates(network)
        with rates.counting():
            trained(network, x, y, narrow=narrow)
        found.append(rates._fired)
    assert list(found[0]) == list(found[1]) == list(network.spiking)
    for layer in network.spiking:
        assert float(found[0][layer]) == pytest.approx(float(found[1][layer]), rel=0.02)


def test_in_evaluation_and_without_autocast_all_is_float32(monkeypatch):
    network, x, _ = made("residual", "neurons", steps=4)
    monkeypatch.setattr(bfloat16, "computed", None)  # would fail if it were called
    network(x)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(x)


def test_neurons_that_the_kernel_does_not_know_are_trained_as_before():
    ann = NETWORKS["residual"]().eval()
    x = torch.rand(16, 3, 16, 16)
    network = nd.spiking(ann, x, steps=4, surrogate=nd.dynamics.surrogates.Sigmoid(), learn_threshold=True).train()
    assert not network.suits_bfloat16
    _, gradients = trained(network, x, torch.arange(16) % 5, narrow=True)
    assert gradients


def test_a_network_without_two_axes_of_space_is_trained_as_before():
    ann = plain(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14, 5)).eval()
    x = torch.rand(16, 3, 16)
    network = nd.qcfs(ann, x, levels=4).train()
    assert not network.suits_bfloat16
    _, gradients = trained(network, x, torch.arange(16) % 5, narrow=True)
    assert gradients


def test_a_surrogate_that_is_set_later_and_a_layer_that_is_watched_are_respected():
    network, x, y = made("residual", "neurons", steps=4)
    seen = []
    handle = network.get_submodule("two").register_forward_hook(lambda *given: seen.append(given[-1].shape))
    trained(network, x, y, narrow=True)
    assert len(seen) == 1
    handle.remove()
    network.get_submodule(network.spiking[1]).surrogate = nd.dynamics.surrogates.Sigmoid()
    assert not network.suits_bfloat16
    _, gradients = trained(network, x, y, narrow=True)
    assert gradients
