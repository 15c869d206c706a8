"""Figures of a report, as matplotlib Figure objects without global state; colours from Okabe and Ito's palette."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from torch import Tensor

from neurodeploy.io.errors import UserError, one_line
from neurodeploy.io.files import atomic_file
from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.estimate import Verdict
from neurodeploy_energy.report import charts
from neurodeploy_energy.report.charts import BarChart, Chart, HeatMap, Point, Scatter
from neurodeploy_energy.report.network import NetworkGraph
from neurodeploy_energy.report.network_figure import network

_STYLES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#7A7A7A", "#D55E00", "#8C6BB1")
"""Colours by number, those of a page's style sheet on a light ground."""
_HATCHES = ("", "///", "...", "xxx", "---", "\\\\\\")


def drawn(chart: Chart) -> Figure:
    """A chart for print."""
    if isinstance(chart, BarChart):
        return _bars(chart)
    if isinstance(chart, NetworkGraph):
        return network(chart)
    return _heat_map(chart) if isinstance(chart, HeatMap) else _scatter(chart)


def write_png(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def spikes_per_layer(report: Account) -> Figure:
    """See `charts.spikes_per_layer`."""
    return drawn(charts.spikes_per_layer(report))


def energy_by_layer(report: Account, profile: str) -> Figure:
    """See `charts.energy_by_layer`."""
    return drawn(charts.energy_by_layer(report, profile))


def energy_by_profile(report: Account) -> Figure:
    """See `charts.energy_by_profile`."""
    return drawn(charts.energy_by_profile(report))


def rates_over_time(report: Account) -> Figure | None:
    """See `charts.rates_over_time`."""
    chart = charts.rates_over_time(report)
    return None if chart is None else drawn(chart)


def pareto(points: Sequence[Point], *, profile: str, accuracy: str = "test accuracy") -> Figure:
    """Accuracy against estimated energy under one profile; the points that no other beats in both are joined."""
    unit = f"estimated energy, µJ per sample ({profile})"
    return drawn(Scatter(points, "Accuracy against estimated energy", unit, f"{accuracy}, %", profile))


def _bars(chart: BarChart) -> Figure:
    tops, count = [], 0.0  # of each row, from the top down; rows are half a bar apart
    for bars in chart.rows.values():
        tops.append(count)
        count += (1 if chart.stacked else max(1, len(bars))) + 0.5
    figure, axes = _figure(8.0, max(3.2, 0.2 * count + 1.6), chart.caption)
    for top, bars in zip(tops, chart.rows.values(), strict=True):
        start = 0.0
        for place, bar in enumerate(bars):
            at = top if chart.stacked else top + place
            value = bar.value or 0.0
            axes.barh(at, value, 0.9, left=start, color=_STYLES[bar.style])
            start += value if chart.stacked else 0.0
            if not chart.stacked:
                _beside(axes, at, value, "no price" if bar.value is None else chart.form(value), log=chart.log)
        if chart.stacked:
            _beside(axes, top, start, chart.form(start), log=False)
    middles = [
        top + (0 if chart.stacked else (max(1, len(bars)) - 1) / 2) for top, bars in zip(tops, chart.rows.values(), strict=True)
    ]
    axes.set_yticks(middles, [one_line(label) for label in chart.rows], fontsize=10, parse_math=False)
    axes.set_ylim(max(count, 1.0) - 0.75, -0.75)
    values = [bar.value for bars in chart.rows.values() for bar in bars if bar.value]
    if chart.log and values:
        axes.set_xscale("log")
        room = max(4.0, (max(values) / min(values)) ** 0.16)  # for the number beside the longest bar
        axes.set_xlim(10 ** floor(log10(min(values)) - 1e-9), room * max(values))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _tick: chart.form(value)))
    else:
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(one_line(chart.unit), fontsize=11, parse_math=False)
    keys = [Patch(color=_STYLES[style], label=one_line(label)) for style, label in enumerate(chart.legend) if label]
    if len(keys) > 1:
        legend = figure.legend(handles=keys, loc="outside lower center", ncols=min(len(keys), 4), frameon=False, fontsize=10)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def _beside(axes: Axes, at: float, value: float, text: str, *, log: bool) -> None:
    """A bar's number at its end; where there is no bar, at the left end of the axis, which a logarithm of 0 is not."""
    place = (value, at) if value or not log else (0.0, at)
    where = axes.transData if value or not log else axes.get_yaxis_transform()
    axes.annotate(text, place, (3, 0), xycoords=where, textcoords="offset points", fontsize=9, va="center")


def _heat_map(chart: HeatMap) -> Figure:
    steps = max(map(len, chart.rows.values()))
    values = np.full((len(chart.rows), steps), np.nan)
    for row, rates in enumerate(chart.rows.values()):
        values[row, : len(rates)] = 100 * np.array(rates)
    figure, axes = _figure(max(7.0, 0.35 * steps + 3.0), max(3.2, 0.32 * len(chart.rows) + 1.9), chart.caption)
    ticks = sorted({0, steps - 1, *range(0, steps, max(1, steps // 12))})
    image = axes.imshow(values, aspect="auto", cmap="cividis", vmin=0, interpolation="nearest")
    axes.set_xticks(ticks, [str(step + 1) for step in ticks], fontsize=10)
    axes.set_yticks(range(len(chart.rows)), [one_line(label) for label in chart.rows], fontsize=10, parse_math=False)
    axes.set_xlabel(chart.unit, fontsize=11)
    axes.set_ylabel(chart.row_unit, fontsize=11)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label=f"{chart.value_unit}, %")
    return figure


def _scatter(chart: Scatter) -> Figure:
    points = chart.points
    figure, axes = _figure(7.5, 4.8, chart.caption)
    for point, nth in zip(points, charts.crowded(points), strict=True):
        across, up = (
            None if ends is None else [[max(0.0, at - ends[0])], [max(0.0, ends[1] - at)]]
            for at, ends in ((point.x, point.across), (point.y, point.up))
        )
        colour, marker = (_STYLES[0], "o") if point.front else (_STYLES[4], "s")
        axes.errorbar(point.x, point.y, xerr=across, yerr=up, fmt=marker, color=colour, capsize=3, markersize=7)
        if point.label:
            beside: dict[str, Any] = {"xytext": (7, (5, -14, 17, -26)[nth % 4]), "textcoords": "offset points"}
            axes.annotate(one_line(point.label), (point.x, point.y), **beside, fontsize=10, parse_math=False)
    front = sorted((p for p in points if p.front), key=lambda p: p.x)
    axes.step([p.x for p in front], [p.y for p in front], where="post", color=_STYLES[0], linestyle="--", linewidth=1, zorder=0)
    if points and min(p.x for p in points) > 0 and max(p.x for p in points) > 5 * min(p.x for p in points):
        axes.set_xscale("log")
    axes.set_xlabel(one_line(chart.x_unit), fontsize=11, parse_math=False)
    axes.set_ylabel(chart.y_unit, fontsize=11)
    axes.margins(0.12)
    return figure


def grouped_bars(
    series: Mapping[str, Mapping[str, tuple[float, float | None]]],
    *,
    groups: str,
    values: str,
    title: str,
) -> Figure:
    """Bars of several series side by side, with intervals: spikes per layer of several networks, accuracies at several T.

    Args:
        series: name → group → value, and the half width of its interval, or None; at most six series.
        groups: label of the horizontal axis.
        values: label of the vertical axis, with its unit.
        title: above it.

    Raises:
        UserError: there are more series than colours.
    """
    if len(series) > len(_HATCHES):
        raise UserError(f"grouped bars: {len(series)} series found, at most {len(_HATCHES)} expected")
    names = list(dict.fromkeys(group for bars in series.values() for group in bars))
    figure = Figure(figsize=(max(7.0, 0.34 * len(names) * max(1, len(series)) + 2.0), 4.2), layout="constrained")
    axes = figure.add_subplot()
    width = 0.84 / max(1, len(series))
    for i, ((label, bars), colour, hatch) in enumerate(zip(series.items(), _STYLES, _HATCHES, strict=False)):
        places = [names.index(group) + (i - (len(series) - 1) / 2) * width for group in bars]
        heights = [value for value, _ in bars.values()]
        axes.bar(places, heights, 0.94 * width, color=colour, hatch=hatch, edgecolor="white", linewidth=0, label=label)
        spreads = [(place, value, half) for place, (value, half) in zip(places, bars.values(), strict=True) if half is not None]
        if spreads:
            across, up, halves = zip(*spreads, strict=True)
            axes.errorbar(across, up, yerr=halves, fmt="none", ecolor="#222222", elinewidth=1.2, capsize=3)
    axes.set_xticks(range(len(names)), names, fontsize=11, rotation=0 if len(names) <= 8 else 60, parse_math=False)
    axes.set_xlabel(groups, fontsize=12)
    axes.set_ylabel(values, fontsize=12)
    axes.set_title(one_line(title), fontsize=13, loc="left", parse_math=False)
    _finish(axes)
    if len(series) > 1:
        legend = figure.legend(loc="outside lower center", ncols=min(len(series), 4), frameon=False, fontsize=11)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def raster(spikes: Mapping[str, Tensor], *, title: str = "Spikes of single neurons") -> Figure:
    """A dot for every spike of chosen neurons; each layer has a band and a colour of its own.

    Args:
        spikes: layer → `[T, neurons]`, of one sample; see `neurodeploy_energy.recording.record`.
        title: above it.
    """
    counts = {name: fired.shape[1] for name, fired in spikes.items()}
    figure = Figure(figsize=(8.0, 0.12 * sum(counts.values()) + 0.3 * len(counts) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    start, middles, steps = 0, [], 1
    for place, (_name, fired) in enumerate(spikes.items()):
        when, who = (fired != 0).nonzero(as_tuple=True)
        axes.plot(when.numpy() + 1, who.numpy() + start, "|", color=_STYLES[place % len(_STYLES)], markersize=6)
        middles.append(start + (fired.shape[1] - 1) / 2)
        start, steps = start + fired.shape[1] + 1, max(steps, len(fired))
    axes.set_yticks(middles, [f"{one_line(name)} ({count})" for name, count in counts.items()], fontsize=10, parse_math=False)
    axes.set_xlim(0.5, steps + 0.5)
    axes.set_ylim(start - 0.5, -1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("time step", fontsize=12)
    axes.set_ylabel("neurons of each layer", fontsize=12)
    axes.set_title(one_line(title), fontsize=13, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _figure(width: float, height: float, caption: str) -> tuple[Figure, Axes]:
    """One pair of axes below its caption, with a light grid and no frame."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(fill(one_line(caption), int(10 * width)), x=0.01, ha="left", fontsize=12, parse_math=False)
    _finish(axes)
    return figure, axes


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=10)
    axes.grid(linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)


_OTHER = "#5A5A5A"
_LINES = (
    (_STYLES[0], "o", "-"),
    (_STYLES[1], "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#D55E00", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#5A5A5A", "P", (0, (1, 1))),
)
"""Colour, marker and line style: no line is told by its colour alone."""
_LESS = "#EBF6F2"
"""Ground where the spiking network costs less."""


def verdict_by_profile(judged: Sequence[Verdict], *, name: str = "spiking network", elsewhere: Verdict | None = None) -> Figure:
    """Dots: one row for each profile, energy of the spiking network as a multiple of its twins'; a line at 1.

    Args:
        judged: the verdicts of one network.
        name: of the network.
        elsewhere: under another profile: profiles that have no cost of a multiply-accumulate, and so no twin of their own, are
            held against its dense twin. Such a dot compares two technologies, and is hollow.
    """
    figure = Figure(figsize=(8.5, 0.42 * len(judged) + 2.1), layout="constrained")
    axes = figure.add_subplot()
    rows = list(reversed(judged))
    foreign = None if elsewhere is None else elsewhere.dense_uj
    dense = [(row, v.dense_factor) for row, v in enumerate(rows) if v.dense_factor is not None]
    quantised = [(row - 0.32, v.quantised_factor) for row, v in enumerate(rows) if v.quantised_factor is not None]
    abroad = [(row, v.model_uj / foreign) for row, v in enumerate(rows) if foreign and v.dense_uj is None and v.model_uj]
    _dots(axes, dense, _STYLES[0], "o", "against its dense ReLU twin")
    _dots(axes, quantised, _STYLES[1], "s", f"against its {judged[0].bits if judged else 0}-bit twin")
    if elsewhere is not None:
        label = f"against the dense twin under {elsewhere.profile.name}: another technology"
        _dots(axes, abroad, _OTHER, "D", label, hollow=True)
    axes.set_yticks(range(len(rows)), [v.profile.name for v in rows], parse_math=False)
    axes.set_ylim(-0.75, len(rows) - 0.4)
    factors = [1.0, *(factor for _, factor in (*dense, *quantised, *abroad) if factor > 0)]
    room = max(2.0, (max(factors) / min(factors)) ** 0.12)  # for the numbers, which stand on the side away from 1
    low, high = min(factors) / room, max(factors) * room
    axes.axvline(1, color="black", linewidth=1.2, zorder=1)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.axvspan(low, 1, color=_LESS, linewidth=0, zorder=0)
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.set_xlabel("estimated energy, multiple of the twin's", fontsize=12)
    axes.set_title(f"{name}: below 1 it costs less than its twin", fontsize=13, loc="left", parse_math=False)
    _finish(axes)
    if axes.get_legend_handles_labels()[0]:
        for text in figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=10).get_texts():
            text.set_parse_math(False)
    return figure


def verdict_along(
    axes: Axes,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    unit: str,
    rules: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> None:
    """Lines into `axes`: multiples of a twin's energy along something, one line for each profile or twin; a line at 1.

    Args:
        axes: whose vertical axis becomes logarithmic.
        series: label → (x, multiple), measured.
        unit: of x, for the axis.
        rules: label of a series → (x, multiple) of a rule that it is held against, a thin line in its colour.
    """
    factors = [1.0]
    for place, (label, points) in enumerate(series.items()):
        colour, marker, style = _LINES[place % len(_LINES)]
        ordered = sorted(points)
        axes.plot(*zip(*ordered, strict=True), color=colour, marker=marker, linestyle=style, markersize=7, label=label)
        rule = sorted((rules or {}).get(label, ()))
        if rule:
            axes.plot(*zip(*rule, strict=True), color=colour, linewidth=0.9)
        factors += [factor for _, factor in (*points, *rule) if factor > 0]
    low, high = min(factors) / 1.3, max(factors) * 1.3
    if not axes.get_autoscaley_on():  # shared with axes that have been drawn into
        before = axes.get_ylim()
        low, high = min(low, before[0]), max(high, before[1])
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.axhline(1, color="black", linewidth=1.2, zorder=1)
    axes.axhspan(1e-12, 1, color=_LESS, linewidth=0, zorder=0)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.set_xlabel(unit, fontsize=12)
    axes.set_ylabel("estimated energy,\nmultiple of the twin's", fontsize=12)
    _finish(axes)


def _dots(
    axes: Axes, points: Sequence[tuple[float, float]], colour: str, marker: str, label: str, *, hollow: bool = False
) -> None:
    points = [(row, factor) for row, factor in points if factor > 0]  # a logarithmic axis has no place for 0
    if not points:
        return
    rows, factors = zip(*points, strict=True)
    fill = "white" if hollow else colour
    axes.plot(factors, rows, marker, color=colour, markerfacecolor=fill, markersize=8, label=label)
    for row, factor in points:
        side, end = (-8, "right") if factor < 1 else (8, "left")
        axes.annotate(_plain(factor), (factor, row), (side, -4), textcoords="offset points", fontsize=10, ha=end)


def _plain(value: float, _place: int | None = None) -> str:
    """A number without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
