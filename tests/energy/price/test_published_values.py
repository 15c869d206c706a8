"""Published counts and energies: those that can be computed here are, and the others are checked in their arithmetic.

Source of all three rows: the README of syops (Chen et al. 2023), which takes 4.6 pJ for a multiply-accumulate and 0.9 pJ for an
accumulate of 45 nm CMOS (Horowitz 2014). The counts of the two spiking networks rest on spike rates of trained weights on
ImageNet, which are not published with them; so what is reproduced of those is how the counts become an energy.
"""

import pytest
import torch
from torch import nn

from neurodeploy_energy import LayerRow, Report, account
from neurodeploy_energy.price.profiles import load


@pytest.mark.parametrize(
    ("network", "acs", "macs", "millijoule"),
    [
        ("Spiking ResNet-18", 0.10e9, 0.14e9, "0.734"),
        ("SEW ResNet-18", 0.50e9, 2.75e9, "13.10"),
        ("ResNet-18", 0, 1.82e9, "8.372"),
    ],
)
def test_published_counts_become_the_published_energy(network, acs, macs, millijoule):
    report = Report(network, 1, 1, (LayerRow("all", "synapse", sops=acs, macs=macs),), {}, (load("cmos45-fp32"),))
    decimals = len(millijoule.split(".")[1])
    assert f"{report.energy('cmos45-fp32').total_uj / 1000:.{decimals}f}" == millijoule


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut, as in He et al. 2016."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(after), nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return self.relu2(out)


def resnet18() -> nn.Sequential:
    """For ImageNet, 1,000 classes."""
    stages = [
        block
        for before, after, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        for block in (Block(before, after, stride), Block(after, after, 1))
    ]
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def test_resnet18_has_the_multiply_accumulates_that_are_published():
    """syops adds two operations a value for batch norm, one for ReLU and pools, which are free here: 1.81 G becomes 1.82 G."""
    report = account(
        resnet18(),
        [torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))],
        profiles=["cmos45-fp32"],
        padding=True,  # as papers count
    )
    assert not report.uncounted
    assert report.total.sops == report.total.adds == 0
    assert report.total.macs == report.total.dense_macs == 1_814_073_344
    norms = {row.name: row.geometry.output_positions for row in report.layers if row.kind == "synapse" and row.name != "14"}
    relus = sum(size for name, size in norms.items() if "shortcut" not in name)
    as_syops = report.total.macs + 2 * sum(norms.values()) + relus + 64 * 112 * 112 + 512 * 7 * 7
    assert f"{as_syops / 1e9:.2f}" == "1.82"
    assert report.energy("cmos45-fp32").total_uj == pytest.approx(8345, abs=1)
