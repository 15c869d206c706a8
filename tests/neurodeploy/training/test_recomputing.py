"""A training may compute activations again instead of keeping them: the weights are the same, bit for bit."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import neurodeploy as nd
from neurodeploy.dynamics.layers import LIF
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNetSpec, SpikingActivations
from neurodeploy.networks.resnet import ResNetSpec

IMAGES = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 4


def conv(**of):
    return ConvNetSpec(channels=(8, 8, 8), strides=(1, 2, 1)).build(3, 4, SpikingActivations(LIF, 5, **of))


def resnet(residual):
    spec = ResNetSpec(channels=(8, 16), blocks=(2, 1), residual=residual, dropout=0.3 if residual == "standard" else 0.0)
    return spec.build(3, 4, SpikingActivations(LIF, 5))


def twin(**of):
    torch.manual_seed(1)
    ann = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
    )
    return nd.spiking(ann.eval(), IMAGES, steps=5, **of)


class Branches(nn.Module):
    """Skips the second layer, and ends with two that read the same."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Conv2d(3, 6, 3, padding=1),
            *(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2)),
        )
        self.left, self.right, self.relu, self.head = nn.Linear(384, 9), nn.Linear(384, 9), nn.ReLU(), nn.Linear(18, 4)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(self.third(self.relu(self.second(x))) + x).flatten(1)
        return self.head(self.relu(torch.cat([self.left(x), self.right(x)], 1)))


MADE = {
    "convolutions": conv,
    "Poisson spikes": lambda: conv(code="poisson"),
    "RepAct": lambda: conv(repact=True),
    "residual": lambda: resnet("standard"),
    "SEW": lambda: resnet("sew"),
    "MS": lambda: resnet("ms"),
    "twin": twin,
    "twin of Poisson spikes": lambda: twin(code="poisson"),
    "twin with RepAct": lambda: twin(repact=True, learn_threshold=True),
    "branches": lambda: nd.spiking(Branches().eval(), IMAGES, steps=5),
    "few levels": lambda: nd.qcfs(nn.Sequential(nn.Flatten(), nn.Linear(192, 9), nn.ReLU(), nn.Linear(9, 4)).eval(), IMAGES),
}


@pytest.fixture(params=MADE)
def network(request):
    torch.manual_seed(3)
    return MADE[request.param]()


def stepped(network, *, recompute):
    """Gradients, state and answer of a step, and the bytes that it kept for its backward pass."""
    torch.manual_seed(4)
    network.train()
    network.recompute, kept = recompute, {}

    def keep(tensor):
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    network.zero_grad()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = network(IMAGES)
        loss = nn.functional.cross_entropy(output.logits, LABELS) + sum(tap.mean() for tap in output.taps.values())
    loss.backward()
    made = {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}
    return made, output, sum(kept.values())


def test_a_step_is_the_same_to_the_bit_and_keeps_less(network):
    start = copy.deepcopy(network.state_dict())
    expected, kept, much = stepped(network, recompute=False)
    ended = copy.deepcopy(network.state_dict())
    network.load_state_dict(start)
    found, again, little = stepped(network, recompute=True)
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in ended.items())  # running statistics too
    assert torch.equal(kept.logits, again.logits)
    assert torch.equal(kept.features, again.features)
    assert kept.taps.keys() == again.taps.keys()
    assert all(torch.equal(value, again.taps[name]) for name, value in kept.taps.items())
    assert little <= much


def test_of_a_deep_network_a_small_part_is_kept():
    torch.manual_seed(0)
    network = ConvNetSpec(channels=(8,) * 8, strides=(1,) * 8).build(3, 4, SpikingActivations(LIF, 5))
    assert stepped(network, recompute=True)[2] < 0.6 * stepped(network, recompute=False)[2]


def test_without_gradients_nothing_is_prepared_for_a_second_call(network):
    network.eval()
    network.recompute = True
    with torch.no_grad():
        torch.manual_seed(4)
        once = network(IMAGES)
        torch.manual_seed(4)
        network.recompute = False
        assert torch.equal(network(IMAGES).logits, once.logits)


@pytest.mark.parametrize("kind", ["convolutions", "twin"])
def test_a_training_ends_with_the_same_weights_and_metrics(tmp_path, kind):
    ended = {}
    for recompute in (False, True):
        torch.manual_seed(3)
        network, folder = MADE[kind](), tmp_path / str(recompute)
        nd.distill(network, None, (IMAGES, LABELS), epochs=2, batch_size=5, folder=folder, recompute=recompute, progress=False)
        assert not network.recompute
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        ended[recompute] = network.state_dict(), [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    (kept, metrics), (again, others) = ended[False], ended[True]
    assert all(torch.equal(value, again[name]) for name, value in kept.items())
    assert metrics == others
    assert metrics[0]["rates"]


def test_a_module_of_ones_own_is_refused_before_it_is_trained(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(UserError, match="recompute: for networks of this package and spiking twins, Sequential found"):
        nd.distill(network, None, (IMAGES, LABELS), epochs=1, folder=tmp_path / "run", recompute=True, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
