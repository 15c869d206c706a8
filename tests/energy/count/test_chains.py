"""Linear chains of layers count as the one layer that inference makes of them, if there is one that computes the same."""

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from neurodeploy_energy import account

X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def norm(channels):
    layer = nn.BatchNorm2d(channels)
    nn.init.uniform_(layer.weight, 0.5, 1.5)
    nn.init.normal_(layer.bias, std=0.3)
    layer.running_mean.normal_(std=0.2)
    layer.running_var.uniform_(0.5, 2)
    return layer


class NormAndPad(nn.Module):
    """Pads with what the norm makes of zeros, written into the borders."""

    def __init__(self, channels):
        super().__init__()
        self.bn = norm(channels)

    def forward(self, x):
        bn, padded = self.bn, f.pad(self.bn(x), [1, 1, 1, 1])
        value = (bn.bias.detach() - bn.running_mean * bn.weight.detach() / torch.sqrt(bn.running_var + bn.eps)).view(
            1, -1, 1, 1
        )
        for border in (padded[:, :, :1], padded[:, :, -1:], padded[..., :1], padded[..., -1:]):
            border[:] = value.view(1, -1, 1, 1)
        return padded


def conv(before, after, kernel, **options):
    return nn.Conv2d(before, after, kernel, bias=False, **options)


def depthwise(channels, padding=0):
    return conv(channels, channels, 3, padding=padding, groups=channels)


class PaddedFirst(nn.Module):
    """Pads before the first layer: zeros come of zeros."""

    def __init__(self):
        super().__init__()
        self.one, self.bn, self.dw, self.two = conv(6, 6, 1), norm(6), depthwise(6), conv(6, 8, 1)

    def forward(self, x):
        return self.two(self.dw(self.bn(self.one(f.pad(x, [1, 1, 1, 1])))))


class Branches(nn.Module):
    """Convolutions of two sizes and a norm, side by side."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.wide, self.narrow, self.norms = conv(6, 6, 3, padding=1), conv(6, 6, 1), nn.ModuleList(norm(6) for _ in range(3))
        self.scale = scale

    def forward(self, x):
        return self.norms[0](self.wide(x)) + self.scale * self.norms[1](self.narrow(x)) + self.norms[2](x)


CHAINS = {
    "padded by the norm": lambda: nn.Sequential(conv(6, 6, 1), NormAndPad(6), depthwise(6), conv(6, 8, 1), norm(8)),
    "padded by the depthwise layer": lambda: nn.Sequential(conv(6, 6, 1), depthwise(6, 1), conv(6, 8, 1), norm(8)),
    "padded by a module": lambda: nn.Sequential(conv(6, 6, 1), nn.ZeroPad2d(1), depthwise(6), norm(6), conv(6, 8, 1)),
    "padded first": PaddedFirst,
    "two layers": lambda: nn.Sequential(conv(6, 4, 1), conv(4, 8, 3, padding=1)),
    "branches": Branches,
    "scaled branches": lambda: Branches(0.5),
}


class Net(nn.Module):
    """A chain between spikes and neurons, in a loop of four steps."""

    def __init__(self, chain):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.chain = nn.Conv2d(3, 6, 3, padding=1), chain()

    def forward(self, x):
        v, w, total = 0.0, 0.0, 0.0
        for _ in range(4):
            v = 0.9 * v + self.first(x)
            z = (v > 0.3).float()
            v = v - z
            w = 0.9 * w + self.chain(z)
            y = (w > 0.3).float()
            w = w - y
            total = total + y
        return total


def counted(net, **options):
    report = account(net.eval(), X, profiles=["cmos45-fp32"], **options)
    assert not report.uncounted
    return report


def in_chain(report):
    return [row for row in report.layers if row.name.startswith("chain")]


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_a_chain_counts_as_the_one_convolution_that_computes_the_same(chain):
    report = counted(Net(chain))
    *others, last = in_chain(report)
    one = Net(lambda: nn.Conv2d(6, last.geometry.out_channels, 3, padding=1))
    one.first = Net(chain).first
    want = counted(one).layer("chain")
    assert (last.sops, last.macs, last.geometry.kernel) == (want.sops, 0, (3, 3))
    assert all((row.sops, row.macs) == (0, 0) and f"folded into {last.name}" in row.note for row in others)
    apart = in_chain(counted(Net(chain), fold=False))
    sops, macs = (sum(getattr(row, key) for row in apart) for key in ("sops", "macs"))
    assert f"apart they would cost {sops:,.0f} synaptic operations and {macs:,.0f} multiply-accumulates" in last.note
    assert last.drives


def test_padding_behind_a_bias_makes_other_borders_and_is_not_folded():
    chain = lambda: nn.Sequential(conv(6, 6, 1), norm(6), depthwise(6, 1), conv(6, 8, 1))  # noqa: E731
    report = counted(Net(chain))
    assert "not folded with chain.0: one layer would compute other values at the borders" in report.layer("chain.2").note
    assert report.layer("chain.0").sops > 0
    assert report.total.macs == counted(Net(chain), fold=False).total.macs


@pytest.mark.parametrize("between", [nn.ReLU, nn.Tanh, lambda: nn.MaxPool2d(1)], ids=["ReLU", "tanh", "max pool"])
def test_what_is_not_linear_is_not_folded(between):
    chain = lambda: nn.Sequential(conv(6, 6, 1), between(), conv(6, 8, 3, padding=1))  # noqa: E731
    assert counted(Net(chain)).total == counted(Net(chain), fold=False).total


def test_a_layer_whose_currents_others_read_too_is_not_folded():
    class Read(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = conv(6, 6, 1), conv(6, 6, 3, padding=1)

        def forward(self, x):
            y = self.one(x)
            return self.two(y) + torch.relu(y)

    assert counted(Net(Read)).total == counted(Net(Read), fold=False).total


def test_layers_of_an_analog_network_fold_where_that_takes_no_more_multiply_accumulates():
    narrow = nn.Sequential(nn.Linear(16, 2), nn.Linear(2, 16))
    wide = nn.Sequential(nn.Linear(4, 64), nn.Linear(64, 4))
    x = torch.rand(5, 16)
    assert account(narrow, x, profiles=[]).total.macs == 64
    assert account(wide, x[:, :4], profiles=[]).total.macs == 16
    assert account(wide, x[:, :4], profiles=[], fold=False).total.macs == 512


def test_weights_of_zero_stay_zero_where_they_are_in_the_one_layer():
    chain = nn.Sequential(conv(6, 4, 1), conv(4, 8, 3, padding=1))
    with torch.no_grad():
        chain[1].weight[:4] = 0
    last = in_chain(counted(Net(lambda: chain)))[-1]
    assert last.sops_nonzero_weights == last.sops / 2 > 0
