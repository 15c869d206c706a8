"""What the charts of a report show: said once, and drawn by `svg.py` for a page and by `figures.py` for print.

A page needs a drawing of its own: its marks tell their values under the pointer and from the keyboard, its colours follow the
reader's light or dark ground, and it is made without matplotlib.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log10

from neurodeploy_energy.price.account import Account, has_twins, verdicts
from neurodeploy_energy.price.estimate import CAUSES
from neurodeploy_energy.report.network import NetworkGraph, network_of
from neurodeploy_energy.report.tables import microjoule, number


@dataclass(frozen=True)
class Bar:
    """One bar of a row, or one piece of a stacked one.

    Attributes:
        value: its length; None for what has no price.
        style: number of its colour.
        tip: what it tells.
    """

    value: float | None
    style: int
    tip: str


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars, one group or one stack for each row.

    Attributes:
        rows: label → bars.
        caption: what the chart shows.
        unit: of the values, with what they are.
        legend: what each colour stands for; empty for none.
        form: of a value that is written beside its bar.
        stacked: bars of a row follow one another instead of standing below each other.
        log: a logarithmic axis, for values that span decades; not with stacks.
        profile: that the chart belongs to, where there is one for each.
    """

    rows: Mapping[str, Sequence[Bar]]
    caption: str
    unit: str
    legend: Sequence[str]
    form: Callable[[float], str] = number
    stacked: bool = False
    log: bool = False
    profile: str = ""


@dataclass(frozen=True)
class HeatMap:
    """One line of fields for each row, from 0 to the largest value.

    Attributes:
        rows: label → values from left to right.
        caption: what the chart shows.
        unit, row_unit, value_unit: of the horizontal axis, the vertical one, and the values.
        tip: sentence with the fields {row}, {place} (from 1) and {value:.1%}.
    """

    rows: Mapping[str, Sequence[float]]
    caption: str
    unit: str
    row_unit: str
    value_unit: str
    tip: str
    profile: str = ""


@dataclass(frozen=True)
class Point:
    """One model in the plane of energy and accuracy.

    Attributes:
        label: beside it.
        x, y: energy, and accuracy in percent.
        tip: what it tells.
        style: number of its colour.
        across: ends of its interval in x; None if there is none.
        up: the same in y.
        front: no other point is better in both.
    """

    label: str
    x: float
    y: float
    tip: str
    style: int = 0
    across: tuple[float, float] | None = None
    up: tuple[float, float] | None = None
    front: bool = False


@dataclass(frozen=True)
class Scatter:
    """Points with their intervals; those of the front are joined by a line.

    Attributes:
        points: at least one.
        caption: what the chart shows.
        x_unit, y_unit: of the axes.
        profile: that the chart belongs to, where there is one for each.
    """

    points: Sequence[Point]
    caption: str
    x_unit: str
    y_unit: str
    profile: str = ""


def crowded(points: Sequence[Point]) -> list[int]:
    """For each point how many before it are so near that their labels would stand on its own."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    decades = bool(xs) and min(xs) > 0 and max(xs) > 10 * min(xs)
    across = [log10(x) for x in xs] if decades else xs
    places = [(_share(x, across), _share(y, ys)) for x, y in zip(across, ys, strict=True)]
    near = [[abs(a[0] - b[0]) < 0.3 and abs(a[1] - b[1]) < 0.06 for b in places[:i]] for i, a in enumerate(places)]
    return [sum(row) for row in near]


def _share(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return (value - low) / (high - low) if high > low else 0.0


Chart = BarChart | HeatMap | Scatter | NetworkGraph


def charts_of(report: Account) -> dict[str, Chart]:
    """Name of a file → chart: all that a report shows."""
    charts: dict[str, Chart | None] = {
        "network": network_of(report),
        "spikes_per_layer": spikes_per_layer(report),
        "energy_by_profile": energy_by_profile(report),
        **{f"energy_by_layer_{profile.name}": energy_by_layer(report, profile.name) for profile in report.profiles},
        "rates_over_time": rates_over_time(report),
    }
    return {name: chart for name, chart in charts.items() if chart is not None and not (_is_empty(chart) and chart.profile)}


def spikes_per_layer(report: Account) -> BarChart:
    """Spikes per sample of every spiking layer, beside the baseline's."""
    both = [report] if report.comparison is None else [report, report.comparison.baseline]
    names = dict.fromkeys(row.name for one in both for row in one.layers if row.kind == "neuron")
    rows: dict[str, list[Bar]] = {name: [] for name in names}
    for style, one in enumerate(both):
        for row in one.layers:
            if row.kind == "neuron":
                tip = f"{row.name}: {number(row.spikes)} spikes per sample ({one.name})"
                rows[row.name].append(Bar(row.spikes, style, tip))
    caption = f"Spikes of every spiking layer of {report.name}: mean over {report.samples:,} samples, {report.steps} time steps"
    spiking = [one.name if any(row.kind == "neuron" for row in one.layers) else "" for one in both]
    return BarChart(rows, caption, "spikes per sample", spiking)


def energy_by_profile(report: Account) -> BarChart:
    """The model, its baseline and its twins under every profile."""
    twins, names = has_twins(report), [report.name, "", "dense ReLU twin", "quantised twin"]
    rows: dict[str, list[Bar]] = {}
    for place, verdict in enumerate(verdicts(report)):
        energies: list[tuple[int, str, float | None]] = [(0, report.name, verdict.model_uj)]
        if report.comparison is not None:
            names[1] = report.comparison.baseline.name
            energies.append((1, names[1], report.comparison.energies[place].baseline))
        if twins:
            energies += [(2, names[2], verdict.dense_uj), (3, f"{verdict.bits}-bit twin", verdict.quantised_uj)]
        profile = verdict.profile.name
        rows[profile] = [
            Bar(uj, style, f"{label} under {profile}: " + ("no price" if uj is None else f"{microjoule(uj)} µJ per sample"))
            for style, label, uj in energies
        ]
    used = {bar.style for bars in rows.values() for bar in bars if bar.value is not None}
    rows = {profile: [bar for bar in bars if bar.style in used] for profile, bars in rows.items()}
    legend = [name if style in used else "" for style, name in enumerate(names)]
    unit = "estimated energy, µJ per sample, logarithmic"
    return BarChart(rows, "Estimated energy under each profile", unit, legend, microjoule, log=True)


def energy_by_layer(report: Account, profile: str) -> BarChart:
    """Estimated energy of every layer by cause, under one profile."""
    breakdown = report.energy(profile)
    rows = {
        layer.name: [
            Bar(uj, style, f"{layer.name}, {cause}: {microjoule(uj)} µJ")
            for style, (cause, field) in enumerate(CAUSES.items())
            if (uj := getattr(layer, field) * 1e-6) > 0
        ]
        for layer in breakdown.layers
        if layer.total > 0
    }
    used = {bar.style for bars in rows.values() for bar in bars}
    legend = [cause if style in used else "" for style, cause in enumerate(CAUSES)]
    total = "no total" if breakdown.total_uj is None else f"{microjoule(breakdown.total_uj)} µJ"
    caption = f"Estimated energy of every layer of {report.name} under {profile}, by cause: {total}"
    unit = f"estimated energy, µJ per sample ({profile})"
    return BarChart(rows, caption, unit, legend, microjoule, stacked=True, profile=profile)


def rates_over_time(report: Account) -> HeatMap | None:
    """Firing rate of every spiking layer in every time step; None if it was not counted by step."""
    rates = rates_by_step(report)
    tip = "{row}, step {place}: {value:.2%} of its neurons fire"
    caption = f"Firing rate of every spiking layer of {report.name} in each time step"
    return HeatMap(rates, caption, "time step", "spiking layer", "neurons that fire", tip) if rates else None


def rates_by_step(report: Account) -> dict[str, list[float]]:
    """Spiking layer → share of its neurons that fire in each time step, mean over the samples; empty if not counted by step."""
    rates = {}
    for row in report.layers:
        series = report.series.get(row.name)
        if row.kind == "neuron" and series is not None and row.neurons:
            rates[row.name] = [count / (row.neurons * report.samples) for count in series.spikes_per_step.tolist()]
    return rates


def _is_empty(chart: Chart) -> bool:
    if isinstance(chart, NetworkGraph):
        return not chart.nodes
    return not (chart.points if isinstance(chart, Scatter) else chart.rows)
