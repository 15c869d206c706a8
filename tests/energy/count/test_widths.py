"""Quantised torch networks have the widths of their integers, where a quantiser made both weights and inputs."""

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn import qat
from torch.ao.quantization import FakeQuantize, MovingAverageMinMaxObserver, QConfig

from neurodeploy.io.errors import UserError
from neurodeploy_energy import account
from neurodeploy_energy.count.widths import integer_widths


def quantiser(bits: int, kind: torch.dtype = torch.qint8) -> FakeQuantize:
    low = 0 if kind == torch.quint8 else -(2 ** (bits - 1))
    return FakeQuantize(MovingAverageMinMaxObserver, quant_min=low, quant_max=low + 2**bits - 1, dtype=kind)


class Quantised(nn.Module):
    """Two layers whose weights and inputs go through quantisers, and one whose input does not."""

    def __init__(self, weights: int, activations: int) -> None:
        super().__init__()
        config = QConfig(activation=nn.Identity, weight=lambda **_: quantiser(weights))
        self.entry, self.between = quantiser(activations, torch.quint8), quantiser(activations, torch.quint8)
        self.conv = qat.Conv2d(1, 4, 3, padding=1, qconfig=config)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        self.first = qat.Linear(64, 6, qconfig=config)
        self.last = qat.Linear(6, 3, qconfig=config)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.between(self.conv(self.entry(x)))))
        return self.last(torch.sigmoid(self.first(x.flatten(1))))


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (4, 8), (3, 5)])
def test_layers_have_the_widths_of_their_quantisers_through_relu_pool_and_views(weights, activations):
    found = integer_widths(Quantised(weights, activations).eval(), torch.rand(2, 1, 8, 8))
    assert found == {"conv": (weights, activations), "first": (weights, activations), "last": (weights, 0)}


def test_a_quantised_network_is_priced_by_its_integers_and_what_is_not_known_is_said():
    x = torch.rand(4, 1, 8, 8)
    report = account(Quantised(4, 8), [x], profiles=["cmos45-int8", "cmos45-fp32"])
    rows = {row.name: row for row in report.layers}
    assert (rows["conv"].weight_bits, rows["conv"].activation_bits) == (4, 8)
    assert "its inputs are not known to be integers" in rows["last"].note
    known = rows["conv"].macs + rows["first"].macs
    expected = known * (0.2 / 2 + 0.03) + rows["last"].macs * 4.6
    assert report.energy("cmos45-fp32").total_uj == pytest.approx(1e-6 * expected)


def test_a_quantiser_that_is_switched_off_makes_no_integers():
    model = Quantised(8, 8).eval()
    model.conv.weight_fake_quant.disable_fake_quant()
    assert "conv" not in integer_widths(model, torch.rand(2, 1, 8, 8))
    assert integer_widths(nn.Linear(3, 3), torch.rand(1, 3)) == {}


def test_batches_that_can_be_gone_through_once_are_all_counted():
    x = torch.rand(6, 1, 8, 8)
    assert account(Quantised(8, 8), iter(x.split(2))).samples == 6


def converted_graph():
    """As the conversion after torch.export leaves it: integers at the input, made floats again before the layer."""
    import torch.ao.quantization.fx._decomposed  # registers the operations

    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    operations = torch.ops.quantized_decomposed
    numbers = (0.1, 0, -128, 127, torch.int8)
    integers = graph.call_function(operations.quantize_per_tensor.default, (x, *numbers))
    floats = graph.call_function(operations.dequantize_per_tensor.default, (integers, *numbers))
    graph.output(graph.call_module("fc", (floats,)))
    return torch.fx.GraphModule({"fc": nn.Linear(4, 2)}, graph)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.ao.nn.quantized.Linear(4, 2), "m: Linear, a converted quantised module"),
        (lambda: nn.Sequential(nn.ReLU(), torch.ao.nn.quantized.dynamic.Linear(4, 2)), "m: layer 1: Linear, a converted"),
        (converted_graph, "m: quantized_decomposed::quantize_per_tensor, a converted quantised module"),
    ],
    ids=["static", "dynamic", "after export"],
)
def test_a_converted_module_is_refused_by_name_and_its_source_asked_for(make, words):
    with pytest.raises(UserError, match=words) as refused:
        account(make(), torch.rand(3, 4), name="m")
    assert "give the module with fake quantisers" in str(refused.value)
    assert "ONNX" in str(refused.value)
