"""Energy is counted in portions that need little memory at many time steps, and is what the whole batch has."""

import torch

import neurodeploy as nd
from neurodeploy.dynamics import portions
from neurodeploy.dynamics.layers import LIF
from neurodeploy.networks import ConvNetSpec, SpikingActivations


def test_the_report_of_a_network_that_is_counted_in_portions_is_that_of_the_whole_batch(monkeypatch):
    torch.manual_seed(0)
    student = ConvNetSpec(channels=(16, 24), strides=(1, 2)).build(3, 10, SpikingActivations(LIF, 6)).eval()
    samples = torch.rand(30, 3, 16, 16)
    model = nd.deploy(student, samples[:3])
    whole, seen = nd.energy(model, samples), []
    monkeypatch.setattr(portions, "_LARGEST", 1 << 17)
    model.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    divided = nd.energy(model, samples)
    assert max(seen) == 5
    assert whole.total.spikes > 0
    assert str(divided) == str(whole)
    assert divided.layers == whole.layers
