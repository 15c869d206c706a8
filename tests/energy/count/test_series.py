"""Counts by step and by sample add up to the rows, however the data were cut; rows say what they cost in memory."""

import pytest
import torch
from torch import nn

from neurodeploy_energy import account
from neurodeploy_energy.count.layer import MemoryAccesses, Series, SynapseGeometry


@pytest.mark.parametrize("size", [1, 7, 40])
def test_series_add_up_to_their_rows_whatever_the_batches(model, digits, size):
    report, whole = account(model, digits.split(size)), account(model, [digits])
    assert report.series == whole.series
    assert set(report.series) == {"conv1", "act1", "conv2", "act2", "classifier"}
    for name, series in report.series.items():
        row = report.layer(name)
        spikes = row.spikes if row.kind == "neuron" else row.spikes_in
        assert len(series.spikes_per_step) == row.steps
        assert series.spikes_per_step.sum() == series.spikes_per_sample.sum() == round(spikes * 40)
        assert (series.sops_per_sample.sum(), series.macs_per_sample.sum()) == (round(row.sops * 40), round(row.macs * 40))
        assert series.spikes_per_sample.shape == series.sops_per_sample.shape == (40,)


def test_a_sample_has_the_counts_that_it_has_alone(model, digits):
    report, alone = account(model, [digits]), account(model, [digits[3:4]])
    for name, series in report.series.items():
        assert series.spikes_per_sample[3] == alone.series[name].spikes_per_sample[0]
        assert series.sops_per_sample[3] == alone.series[name].sops_per_sample[0]


def test_series_are_equal_if_all_their_counts_are():
    one = Series(*(torch.arange(4) for _ in range(4)))
    assert one == Series(*(torch.arange(4) for _ in range(4)))
    assert one != Series(*(torch.arange(4) for _ in range(3)), torch.ones(4, dtype=torch.int64))
    assert one != "series"


def test_rows_that_belong_to_no_sample_have_no_series():
    report = account(nn.Sequential(nn.Flatten(0, 1), nn.Linear(2, 3)), [torch.ones(4, 3, 2)], batch_axis=1)
    assert len(report.series["1"].spikes_per_step) == 4
    report = account(nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (2, -1)), nn.Linear(6, 3)), [torch.ones(3, 4)])
    assert "2" not in report.series
    assert report.layer("2").sops == 36 / 3


def test_accesses_are_those_of_the_operations(report):
    conv1, act1, conv2, act2 = (report.layer(name) for name in ("conv1", "act1", "conv2", "act2"))
    assert conv1.memory == MemoryAccesses(conv1.macs, conv1.macs, 0, 0, 3 * 8 * 8)
    assert conv2.memory == MemoryAccesses(act1.spikes, conv2.sops, conv2.sops, conv2.sops, 0)
    assert act2.memory == MemoryAccesses(0, 0, 4 * 64, 4 * 64, act2.spikes)
    assert report.total.memory.total == pytest.approx(sum(row.memory.total for row in report.layers))


def test_a_row_knows_the_shape_of_its_layer_and_the_neurons_that_it_drives(report):
    row = report.layer("conv2")
    expected = SynapseGeometry("conv", 3, 4, (3, 3), (2, 2), (1, 1), 1, (8, 8), (4, 4), bias=True, leaky=True)
    assert row.geometry == expected
    assert (row.geometry.input_positions, row.geometry.output_positions, row.geometry.weights) == (192, 64, 108)
    assert (row.drives, row.spikes_in, row.spikes_out) == ("act2", report.layer("act1").spikes, report.layer("act2").spikes)
    classifier = report.layer("classifier")
    assert (classifier.drives, classifier.geometry.leaky, classifier.geometry.weights) == ("", None, 48)
    assert report.layer("act2").spikes_value == report.layer("act2").spikes
