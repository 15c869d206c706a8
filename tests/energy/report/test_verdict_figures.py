"""Figures of a verdict show the factors that were computed, on axes that say what they are."""

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from neurodeploy_energy.price.estimate import Verdict
from neurodeploy_energy.price.profiles import load
from neurodeploy_energy.report.figures import verdict_along, verdict_by_profile

pytestmark = pytest.mark.filterwarnings("error")
INT8 = Verdict(load("cmos45-int8"), 2.0, 4.0, 1.0, 3, 0.5, 0.2)
FP32 = Verdict(load("cmos45-fp32"), 3.0, 12.0, None, 3, 0.5, 0.2)
CHIP = Verdict(load("truenorth"), 8e6, None, None, 3, 0.5, None)


def dots(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_marker() != "None"}


def test_each_profile_has_a_row_with_its_factors_and_a_line_at_1():
    figure = verdict_by_profile([FP32, INT8], name="calm $x_")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "estimated energy, multiple of the twin's"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cmos45-int8", "cmos45-fp32"]
    assert dots(axes)["against its dense ReLU twin"] == [[0.5, 0], [0.25, 1]]
    assert [factor for factor, _ in dots(axes)["against its 3-bit twin"]] == [2.0]
    assert [1.0, 1.0] in [list(line.get_xdata()) for line in axes.lines]
    figure.canvas.draw()


def test_a_profile_without_a_twin_is_left_empty_unless_it_is_held_against_another_technology():
    assert dots(verdict_by_profile([CHIP, INT8]).axes[0])["against its dense ReLU twin"] == [[0.5, 0]]
    figure = verdict_by_profile([CHIP, INT8], elsewhere=INT8)
    (axes,) = figure.axes
    (label,) = (label for label in dots(axes) if "another technology" in label)
    assert "cmos45-int8" in label
    assert dots(axes)[label] == [[2e6, 1]]
    (hollow,) = (line for line in axes.lines if line.get_label() == label)
    assert hollow.get_markerfacecolor() == "white"
    figure.canvas.draw()
    assert "2,000,000" in [text.get_text() for text in axes.texts]


def test_without_verdicts_or_with_a_model_that_costs_nothing_the_figure_is_drawn_all_the_same():
    verdict_by_profile([]).canvas.draw()
    verdict_by_profile([replace(INT8, model_uj=0.0)]).canvas.draw()


def test_lines_are_sorted_told_apart_without_colour_and_share_their_axis():
    figure = Figure()
    left, right = figure.subplots(1, 2, sharey=True)
    verdict_along(left, {"fp32": [(4, 0.5), (1, 0.01)], "int8": [(1, 3.0), (4, 40.0)]}, unit="time steps T")
    verdict_along(right, {"fp32": [(10, 0.5)]}, unit="rate, %", rules={"fp32": [(10, 0.001), (1, 0.0001)]})
    assert dots(left)["fp32"] == [[1, 0.01], [4, 0.5]]
    styles = {(line.get_marker(), line.get_linestyle()) for line in left.lines[:2]}
    assert len(styles) == 2
    assert (left.get_xlabel(), right.get_xlabel()) == ("time steps T", "rate, %")
    low, high = right.get_ylim()
    assert low < 0.0001
    assert high > 40
    assert left.get_ylim() == (low, high)
    assert [[1, 0.0001], [10, 0.001]] in [line.get_xydata().tolist() for line in right.lines]
    figure.canvas.draw()
