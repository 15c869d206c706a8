"""Figures of a verdict: what a spiking network costs as a multiple of its twins without spikes, on a logarithmic axis."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from neurodeploy_energy.report.figures import BASELINE, MODEL
from neurodeploy_energy.twins import Verdict

_OTHER = "#5A5A5A"
_LINES = (
    (MODEL, "o", "-"),
    (BASELINE, "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#D55E00", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#5A5A5A", "P", (0, (1, 1))),
)
"""Colour, marker and line style: no line is told by its colour alone."""
_LESS = "#EBF6F2"
"""Ground where the spiking network costs less."""


def verdict_by_profile(found: Sequence[Verdict], *, name: str = "spiking network", elsewhere: Verdict | None = None) -> Figure:
    """Dots: one row for each profile, energy of the spiking network as a multiple of its twins'; a line at 1.

    Args:
        found: the verdicts of one network.
        name: of the network.
        elsewhere: under another profile: profiles that have no cost of a multiply-accumulate, and so no twin of their own, are
            held against its dense twin. Such a dot compares two technologies, and is hollow.
    """
    figure = Figure(figsize=(8.5, 0.42 * len(found) + 2.1), layout="constrained")
    axes = figure.add_subplot()
    rows = list(reversed(found))
    foreign = None if elsewhere is None else elsewhere.dense_uj
    dense = [(row, v.dense_factor) for row, v in enumerate(rows) if v.dense_factor is not None]
    quantised = [(row - 0.32, v.quantised_factor) for row, v in enumerate(rows) if v.quantised_factor is not None]
    abroad = [(row, v.model_uj / foreign) for row, v in enumerate(rows) if foreign and v.dense_uj is None]
    _dots(axes, dense, MODEL, "o", "against its dense ReLU twin")
    _dots(axes, quantised, BASELINE, "s", f"against its {found[0].bits if found else 0}-bit twin")
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


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11)
    axes.grid(linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
