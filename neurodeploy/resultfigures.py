"""The figure of `results.json`: what networks achieve, and the spikes that they spend on it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from neurodeploy.results import Results

COLOURS = ("#7A7A7A", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#D55E00", "#56B4E9", "#000000")
"""Okabe and Ito's, which can be told apart by the colour-blind."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


def front(results: Sequence[Results], roles: Sequence[Sequence[str]], titles: Sequence[str]) -> Figure:
    """Accuracy against spikes, a panel for each run; bars are 95 % intervals over the seeds.

    A line joins the networks that none beats in both.

    Args:
        results: of each panel.
        roles: of each panel; the first is the baseline, which percentages refer to.
        titles: of each panel.
    """
    figure = Figure(figsize=(5.6 * len(results), 5.2), layout="constrained")
    known = list(dict.fromkeys(role for shown in roles for role in shown))  # a role looks alike in every panel
    for axes, run, shown, title in zip(figure.subplots(1, len(results), squeeze=False)[0], results, roles, titles, strict=True):
        _panel(axes, run, shown, known)
        axes.set_title(title, fontsize=13, loc="left", parse_math=False)
    return figure


def _panel(axes: Axes, results: Results, roles: Sequence[str], known: Sequence[str]) -> None:
    best = pareto_front({role: (results.spikes(role)[0], results.accuracy(role)[0]) for role in roles})
    axes.plot(*zip(*best, strict=True), color="#B0B0B0", linewidth=1.5, zorder=1, label="none is better in both")
    full = results.spikes(roles[0])[0]
    for i, role in enumerate(roles):
        (spikes, wide), (accuracy, high) = results.spikes(role), results.accuracy(role)
        look = known.index(role)
        change = "" if i == 0 else f" ({100 * (spikes / full - 1):+.0f} %)"
        axes.errorbar(
            spikes,
            accuracy,
            xerr=wide,
            yerr=high,
            fmt=MARKERS[look % len(MARKERS)],
            color=COLOURS[look % len(COLOURS)],
            markersize=9,
            capsize=3,
            label=f"{role}{change}",
        )
    axes.set_xlim(left=0)
    axes.set_ylim(top=min(axes.get_ylim()[1], 100.1))
    axes.set_xlabel("spikes per sample", fontsize=12)
    seeds, samples = len(results.recipe.seeds), results.networks[0].samples
    axes.set_ylabel(f"test accuracy, % of {samples:,}, {seeds} seed{'s' * (seeds > 1)}", fontsize=12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(labelsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=10, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def pareto_front(points: dict[str, tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, gain), those that none beats in both, by growing cost."""
    found: list[tuple[float, float]] = []
    for cost, gain in sorted(points.values(), key=lambda point: (point[0], -point[1])):
        if not found or gain > found[-1][1]:
            found.append((cost, gain))
    return found
