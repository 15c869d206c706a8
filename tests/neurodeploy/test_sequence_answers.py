"""A network of the toolkit's own layers that answers a sequence: its model answers the mean over time."""

import numpy as np
import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.dynamics.layers import LIF, CubaLIF, TimeMean


class BatchFirst(nn.Module):
    """The same layers for samples `[B, T, …]`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.transpose(0, 1)).transpose(0, 1)


def layers(last: type[nn.Module] | None) -> nn.Sequential:
    torch.manual_seed(0)
    made = [nn.Linear(7, 12), LIF(threshold=0.3), nn.Linear(12, 5)]
    return nn.Sequential(*made, *([] if last is None else [last(threshold=0.1)])).eval()


X = (torch.rand(9, 6, 7, generator=torch.Generator().manual_seed(1)) < 0.4).float()  # [T, B, K]


@pytest.mark.parametrize("last", [LIF, CubaLIF, None], ids=["spikes", "spikes of currents", "currents"])
@pytest.mark.parametrize("target", ["onnx", "lava"])
def test_its_bundle_answers_the_mean_of_the_modules_answers(last, target, tmp_path):
    network = layers(last)
    with torch.no_grad():
        expected = network(X).mean(0).numpy()
    model = nd.deploy(network, X, batch_axis=1)
    assert model.graph.shape("logits") == (5,)
    assert not model.graph.timed("logits")
    bundle = nd.export(
        model, target, tmp_path / "bundle", samples=6, calibration=0, **({} if target == "lava" else {"quantize": "none"})
    )
    assert nd.verify(bundle).passed
    with np.load(bundle.folder / "sample.npz") as held:
        assert held["logits"].shape == (6, 5)
        if target == "onnx":
            assert np.allclose(held["logits"], expected, atol=1e-5)
    assert bundle.manifest.module.samples == 6


def test_the_order_of_the_axes_does_not_matter():
    one = nd.deploy(layers(LIF), X, batch_axis=1)
    other = nd.deploy(BatchFirst(layers(LIF)), X.transpose(0, 1), time_axis=1)
    assert torch.equal(one.module(X.transpose(0, 1)), other.module(X.transpose(0, 1)))


def test_a_mean_of_its_own_stays_the_only_one():
    with_mean = nd.deploy(nn.Sequential(*layers(LIF), TimeMean()), X, batch_axis=1)
    assert [type(node) for node in with_mean.graph.nodes] == [
        type(node) for node in nd.deploy(layers(LIF), X, batch_axis=1).graph.nodes
    ]
