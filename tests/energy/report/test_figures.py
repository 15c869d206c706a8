"""Figures for print: what they show is what was counted, and they are drawn without a warning."""

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.io.errors import UserError
from neurodeploy_energy import account
from neurodeploy_energy.count.recording import record
from neurodeploy_energy.report import as_frame
from neurodeploy_energy.report.charts import Point, rates_by_step
from neurodeploy_energy.report.figures import grouped_bars, pareto, raster, rates_over_time

pytestmark = pytest.mark.filterwarnings("error")
POINTS = [
    Point("cheap", 1.0, 80.0, "", front=True, across=(0.9, 1.2), up=(78, 82)),
    Point("dear $x_", 40.0, 90.0, "", front=True),
    Point("worse", 50.0, 85.0, ""),
]


def labels(figure):
    (axes, *_) = figure.axes
    return axes.get_xlabel(), axes.get_ylabel()


def test_rates_over_time_are_the_counted_ones(model, digits):
    report = account(model, [digits], name="calm")
    rates = rates_by_step(report)
    assert list(rates) == ["act1", "act2"]
    for name, steps in rates.items():
        row = report.layer(name)
        assert sum(steps) * row.neurons == pytest.approx(row.spikes)
    figure = rates_over_time(report)
    assert labels(figure) == ("time step", "spiking layer")
    (image,) = figure.axes[0].images
    assert np.allclose(image.get_array(), [[100 * rate for rate in steps] for steps in rates.values()])
    figure.canvas.draw()


def test_without_spiking_layers_there_is_no_heat_map(digits):
    assert rates_over_time(account(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), [digits])) is None


def test_the_front_is_joined_and_the_axes_say_what_they_are():
    figure = pareto(POINTS, profile="loihi1")
    assert labels(figure) == ("estimated energy, µJ per sample (loihi1)", "test accuracy, %")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    joined = [line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == "--"]
    assert joined == [[[1.0, 80.0], [40.0, 90.0]]]
    figure.canvas.draw()


def test_points_that_are_close_stand_on_a_linear_axis():
    assert pareto([Point("a", 1, 1, ""), Point("b", 1.1, 2, "")], profile="p").axes[0].get_xscale() == "linear"
    pareto([], profile="p").canvas.draw()


def test_a_raster_has_a_mark_for_every_spike(model, digits):
    spikes = record(model, digits[:1], {"act2": [0, 5, 63], "act1": range(20)})
    assert {name: tuple(found.shape) for name, found in spikes.items()} == {"act2": (4, 3), "act1": (4, 20)}
    figure = raster(spikes)
    assert labels(figure) == ("time step", "neurons of each layer")
    marks = sum(len(line.get_xdata()) for line in figure.axes[0].lines)
    assert marks == sum(int(found.sum()) for found in spikes.values()) > 0
    figure.canvas.draw()


def test_recorded_spikes_are_those_that_are_counted(model, digits):
    every = record(model, digits[:1], 10_000)
    report = account(model, [digits[:1]])
    for name, found in every.items():
        assert found.shape[1] == report.layer(name).neurons
        assert int(found.sum()) == report.layer(name).spikes
        assert found.sum(1).tolist() == report.series[name].spikes_per_step.tolist()


def test_recording_leaves_the_model_as_it_was(model, digits):
    model.train()
    first, second = (record(model, digits[:1]) for _ in range(2))
    assert model.training
    assert not model.act1._forward_hooks
    assert all(torch.equal(first[name], second[name]) for name in first)
    model.eval()


@pytest.mark.parametrize(
    ("neurons", "message"),
    [
        ({"act9": [0]}, "layer act9: no spiking layer"),
        ({"act2": [64]}, "layer act2: neuron 64 asked for, a number from 0 to 63"),
    ],
)
def test_a_neuron_that_is_not_there_is_named(model, digits, neurons, message):
    with pytest.raises(UserError, match=message):
        record(model, digits[:1], neurons)


def test_a_model_without_neurons_has_no_raster(digits):
    with pytest.raises(UserError, match="no spiking layer found"):
        record(nn.Flatten(), digits[:1])


def test_a_data_frame_has_a_row_per_layer_and_a_column_per_profile(report):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = as_frame(report)
    assert list(frame.index) == [row.name for row in report.layers]
    assert frame.loc["conv2", "sops"] == report.layer("conv2").sops
    assert frame.loc["conv2", "memory_weight_reads"] == report.layer("conv2").memory.weight_reads
    for used in report.profiles:
        assert frame[f"estimated_uj_{used.name}"].sum() == pytest.approx(report.energy(used.name).total_uj)
    assert frame.attrs["samples"] == 40


def test_without_pandas_a_data_frame_is_refused_in_words(report, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UserError, match="pandas is not installed"):
        as_frame(report)


def test_grouped_bars_show_every_value_with_its_interval_side_by_side():
    series = {"before": {"act1": (10.0, 2.0), "act2": (5.0, None)}, "after $x_": {"act2": (3.0, 1.0)}}
    figure = grouped_bars(series, groups="spiking layer", values="spikes per sample", title="a_b")
    assert labels(figure) == ("spiking layer", "spikes per sample")
    (axes,) = figure.axes
    bars = [[(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in found] for found in axes.containers[::2]]
    assert bars[0] == [(pytest.approx(-0.21), 10.0), (pytest.approx(0.79), 5.0)]
    assert bars[1] == [(pytest.approx(1.21), 3.0)]
    ends = [[line[:, 1].tolist() for line in spread.lines[2][0].get_segments()] for spread in axes.containers[1::2]]
    assert ends == [[[8.0, 12.0]], [[2.0, 4.0]]]
    assert len({patch.get_hatch() for patch in axes.patches}) == 2
    figure.canvas.draw()


def test_more_series_than_colours_are_refused():
    series = {str(number): {"act1": (1.0, None)} for number in range(7)}
    with pytest.raises(UserError, match="grouped bars: 7 series found, at most 6 expected"):
        grouped_bars(series, groups="", values="", title="")
