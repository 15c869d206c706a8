"""Padding, slices, joins and other orders of values cost nothing, and what reads them knows what they are."""

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from neurodeploy.dynamics import layers
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy_energy import account

SPIKES = (torch.rand(4, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def firing() -> layers.Neuron:
    return layers.Neuron(NeuronParameters(0.5, 0.3))


class Branches(nn.Module):
    """A shortcut that skips pixels and pads channels, beside a padded layer, side by side and turned."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fire = layers.Conv2d(2, 2, 1, bias=False), firing()
        self.pad, self.conv = layers.Pad(((0, 0), (0, 1), (0, 1))), layers.Conv2d(2, 3, 3, stride=2, bias=False)
        self.skip, self.more = layers.Slice((0, 0, 0), (2, 4, 4), (1, 2, 2)), layers.Pad(((0, 1), (0, 0), (0, 0)))
        self.both, self.turn, self.shape = layers.Concat(), layers.Permute((0, 2, 1)), layers.Reshape((24,))
        self.out = nn.Linear(24, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = self.fire(self.first(x))
        self.made = spikes
        self.joined = self.both(self.more(self.skip(spikes)), (self.conv(self.pad(spikes)) > 0).float())
        return self.out(self.shape(self.turn(self.joined)))


def test_what_moves_values_has_no_row_and_the_layers_behind_it_read_spikes():
    torch.manual_seed(1)
    network = Branches()
    report = account(network, SPIKES, batch_axis=1)
    assert report.uncounted == {}
    assert [row.name for row in report.layers] == ["first", "fire", "conv", "Branches: neurons of conv", "out"]
    with torch.no_grad():
        network(SPIKES)
        made = network.made.flatten(0, 1)
        # each place of an unpadded image of ones says how many outputs of the padded layer read it
        reached = f.conv_transpose2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 3, 3), stride=2)[..., :4, :4]
    conv, out = report.layer("conv"), report.layer("out")
    assert conv.sops == pytest.approx(3 * float((made * reached).sum()) / 3)
    assert (conv.macs, out.macs) == (0, 0)
    assert out.sops == pytest.approx(2 * float(network.joined.sum()) / 3)


def test_a_spike_into_a_transposed_convolution_costs_its_fan_out_inside_the_output():
    """Kernel 3, stride 2, padding 1: taps of the four inputs reach outputs −1 … 7, of which there are 0 … 6."""
    up = layers.ConvTranspose1d(1, 5, 3, stride=2, padding=1)
    for place, inside in enumerate((2, 3, 3, 2)):
        spikes = torch.zeros(6, 2, 1, 4)
        spikes[:, 0, 0, place] = 1
        model = nn.Sequential(up, firing())
        row = account(model, spikes, batch_axis=1).layer("0")
        assert row.sops == 5 * inside / 2  # the same in every step: once
        assert row.geometry.output == (7,)
        assert row.dense_macs == 5 * (2 + 3 + 3 + 2)


@pytest.mark.parametrize("ceiling", [nn.ReLU6(), nn.Hardtanh(0.0, 1.0)])
def test_a_rectifier_with_a_ceiling_makes_analog_values_that_padding_leaves_analog(ceiling):
    model = nn.Sequential(nn.Conv1d(1, 2, 1), ceiling, nn.ZeroPad1d((1, 2)), nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Flatten())
    model[0].weight.data.fill_(9.0)
    model[0].bias.data.fill_(0.0)
    samples = torch.tensor([0.05, 1.0, 2.0, -1.0]).expand(2, 1, 4)  # between the bounds, at the ceiling, and at 0
    report = account(nn.Sequential(*model, nn.Linear(18, 2)), samples)
    assert report.uncounted == {}
    second = report.layer("3")
    assert (second.sops, second.macs) == (0, second.dense_macs)
    assert second.dense_macs == 6 * 3 * 2 * 2


def test_pools_with_padding_of_their_own_are_counted_as_torch_s_are():
    padding = ((1, 1), (1, 1))
    for own, torchs in (
        (layers.PaddedAvgPool((2, 2), (2, 2), padding), layers.AvgPool2d(2, 2, 1)),
        (layers.PaddedMaxPool((2, 2), (2, 2), padding), layers.MaxPool2d(2, 2, 1)),
    ):
        rows = []
        for pool in (own, torchs):
            torch.manual_seed(0)
            network = nn.Sequential(layers.Conv2d(2, 2, 1), firing(), pool, layers.Conv2d(2, 3, 1), firing())
            report = account(network, SPIKES, batch_axis=1)
            assert report.uncounted == {}
            rows.append(report.layers)
        assert rows[0] == rows[1]
