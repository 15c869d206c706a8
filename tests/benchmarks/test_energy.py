"""The comparison with NeuroBench: every difference has a reason that is checked, and what has none ends the run."""

import pytest
from torch import nn

from benchmarks.energy import UNEXPLAINED, Cost, Difference, Peak, _cost, _large, _reason, text
from benchmarks.peers.neurobench import LayerCount
from neurodeploy_energy import LayerRow

ROW = LayerRow("conv2", "synapse")
FOLDED = LayerRow("conv2", "synapse", note="spikes counted before pool, which is folded in")


@pytest.mark.parametrize(
    ("row", "macs", "acs", "other", "reason"),
    [
        (ROW, 0, 5, LayerCount(0, 5, 5, 1), ""),
        (ROW, 0, 5, LayerCount(0, 5, 5, 2), "NeuroBench's total has it 2 times: the layer has 2 names"),
        (ROW, 0, 5, LayerCount(0, 0, 0, 0), "NeuroBench does not see it"),
        (ROW, 0, 5, LayerCount(0, 6, 5, 1), "NeuroBench sums in float32"),
        (FOLDED, 0, 5, LayerCount(3, 0, 3, 1), "an average pool before it"),
        (ROW, 0, 5, LayerCount(5, 0, 5, 1), UNEXPLAINED),
        (ROW, 0, 5, LayerCount(0, 6, 6, 1), UNEXPLAINED),
        (ROW, 0, 5, LayerCount(3, 0, 3, 1), UNEXPLAINED),
    ],
)
def test_a_difference_is_explained_only_by_what_explains_it(row, macs, acs, other, reason):
    found = _reason(row, macs, acs, other)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_the_tables_say_what_was_measured():
    seconds = {"plain pass": [2.0, 2.0, 9.0], "counting pass": [2.2, 2.2, 2.1], "NeuroBench": [8.0, 8.0, 8.0]}
    cost = _cost("VGG-11", 4, 16, 3, seconds)
    assert (cost.overhead, cost.faster) == (pytest.approx(1.1), pytest.approx(8 / 2.2))
    assert cost.faster_count == pytest.approx(6 / 0.2)
    assert _cost("VGG-11", 4, 16, 1, {"plain pass": [2.0], "counting pass": [1.9]}).faster_count is None
    shown = text([Difference("Norse", "conv1", 1000, 0, 1000, 0, "")], [cost], [Peak(10, 100, 5, 2**20, 3 * 2**20)])
    assert "| Norse | conv1 | 1,000 | 0 | 1,000 | 0 | equal |" in shown
    assert "| VGG-11 | 4 | 16 | 2.000 | 2.200 | 1.100 | 8.000 | 3.6 | 30.0 |" in shown
    assert "a plain pass raises the peak by 1 MiB, the counting pass by 3 MiB" in shown
    assert isinstance(cost, Cost)


def test_the_large_model_has_100_million_parameters():
    layers = _large()
    assert isinstance(layers, nn.Module)
    assert sum(weight.numel() for weight in layers.parameters()) == pytest.approx(100e6, rel=0.01)
