"""Charts of a page as SVG: every mark tells its value under the pointer or, with the arrow keys, from the keyboard.

matplotlib draws the same charts for print, see `charts.py`; its SVG knows no marks to ask and no dark ground.

Colours come from the page's style sheet (Okabe and Ito's palette; cividis for the heat map), so that they suit its ground.
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from neurodeploy_energy.report.charts import BarChart, Chart, HeatMap, Scatter

_WIDTH, _LABEL, _RIGHT, _ROW, _TOP = 900, 210, 110, 15, 8
_CIVIDIS = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838")


def drawn(chart: Chart) -> str:
    """A `<figure>`; one that belongs to a profile says so."""
    if isinstance(chart, BarChart):
        return _bars(chart)
    return _heat_map(chart) if isinstance(chart, HeatMap) else _scatter(chart)


def _bars(chart: BarChart) -> str:
    rows, stacked = chart.rows, chart.stacked
    values = [bar.value for row in rows.values() for bar in row if bar.value > 0]
    lengths = [sum(bar.value for bar in row) for row in rows.values()] if stacked else values
    axis = _Log.of(values) if chart.log and values else _Linear(0.0, max(lengths, default=0.0) or 1.0)
    body, y = [], _TOP
    for label, row in rows.items():
        height = _ROW if stacked else max(1, len(row)) * _ROW
        middle = y + height / 2 + 3
        body.append(f'<text class="label" x="{_LABEL - 8}" y="{middle:.1f}" text-anchor="end">{escape(_short(label))}</text>')
        start = 0.0
        for nth, bar in enumerate(row):
            top = y if stacked else y + nth * _ROW
            length = _span(axis.at(start + bar.value) - axis.at(start)) if bar.value > 0 else 0.0
            body.append(
                f'<rect class="mark s{bar.style}" x="{_LABEL + _span(axis.at(start)):.1f}" y="{top}" '
                f'width="{max(length, 1.0):.1f}" height="{_ROW - 2}" data-tip="{escape(bar.tip)}"/>'
            )
            start += bar.value if stacked else 0.0
        y += height + 7
    return _svg([*axis.grid(y), *body, _unit(chart.unit, y + 32)], y + 40, chart, chart.legend)


def _heat_map(chart: HeatMap) -> str:
    rows = chart.rows
    most = max((value for values in rows.values() for value in values), default=0.0) or 1.0
    columns = max((len(values) for values in rows.values()), default=1)
    width, size = (_WIDTH - _LABEL - _RIGHT) / columns, 18
    body = []
    for i, (label, values) in enumerate(rows.items()):
        y = _TOP + i * size
        body.append(f'<text class="label" x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(_short(label))}</text>')
        for step, value in enumerate(values):
            colour = _CIVIDIS[min(len(_CIVIDIS) - 1, int(value / most * len(_CIVIDIS)))]
            tip = escape(chart.tip.format(row=label, place=step + 1, value=value))
            body.append(
                f'<rect class="mark" fill="{colour}" x="{_LABEL + step * width:.1f}" y="{y}" width="{width - 1:.1f}" '
                f'height="{size - 1}" data-tip="{tip}"/>'
            )
    bottom = _TOP + len(rows) * size
    every = ceil(columns / 16)
    body += [_tick(_LABEL + (step + 0.5) * width, bottom + 14, str(step + 1)) for step in range(0, columns, every)]
    body += [_unit(chart.unit, bottom + 32)]
    for i, colour in enumerate(_CIVIDIS):
        body.append(f'<rect fill="{colour}" x="{_WIDTH - _RIGHT + 20 + 7 * i}" y="{bottom + 4}" width="7" height="10"/>')
    body.append(_tick(_WIDTH - _RIGHT + 20, bottom + 28, "0"))
    body.append(_tick(_WIDTH - 22, bottom + 28, f"{most:.1%}"))
    return _svg(body, bottom + 40, chart, ())


def _scatter(chart: Scatter) -> str:
    points = chart.points
    height = 380
    xs = [x for p in points for x in (p.x, *(p.across or ()))]
    ys = [y for p in points for y in (p.y, *(p.up or ()))]
    decades = min(xs) > 0 and max(xs) > 10 * min(xs)
    axis = _Log.of(xs) if decades else _Linear(*_padded(min(xs), max(xs)))
    low, high = _padded(min(ys), max(ys))

    def across(x: float) -> float:
        return _LABEL + _span(axis.at(x))

    def up(y: float) -> float:
        return _TOP + (height - _TOP) * (high - y) / (high - low)

    step = _nice((high - low) / 5)
    body = []
    for i in range(ceil(low / step), floor(high / step) + 1):
        y, text = up(i * step), f"{i * step:.10g}"
        body.append(f'<line class="grid" x1="{_LABEL}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(f'<text class="tick" x="{_LABEL - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    front = sorted((p for p in points if p.front), key=lambda p: p.x)
    for a, b in pairwise(front):
        corner = f"M{across(a.x):.1f} {up(a.y):.1f}H{across(b.x):.1f}V{up(b.y):.1f}"
        body.append(f'<path class="front" d="{corner}"/>')
    for p in points:
        x, y = across(p.x), up(p.y)
        if p.across is not None:
            body.append(f'<path class="whisker" d="M{across(p.across[0]):.1f} {y:.1f}H{across(p.across[1]):.1f}"/>')
        if p.up is not None:
            body.append(f'<path class="whisker" d="M{x:.1f} {up(p.up[0]):.1f}V{up(p.up[1]):.1f}"/>')
        body.append(f'<circle class="mark s{p.style}" cx="{x:.1f}" cy="{y:.1f}" r="6" data-tip="{escape(p.tip)}"/>')
        if p.label:
            body.append(f'<text class="label" x="{x + 10:.1f}" y="{y - 7:.1f}">{escape(_short(p.label))}</text>')
    body.append(
        f'<text class="unit" transform="translate({_LABEL - 60} {height / 2:.0f}) rotate(-90)">{escape(chart.y_unit)}</text>'
    )
    return _svg([*axis.grid(height), *body, _unit(chart.x_unit, height + 32)], height + 40, chart, ())


class _Linear:
    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def at(self, value: float) -> float:
        """From 0 at the left to 1 at the right."""
        return (value - self.low) / (self.high - self.low)

    def grid(self, bottom: float) -> list[str]:
        step = _nice((self.high - self.low) / 5)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [_line(self.at(i * step), bottom, f"{i * step:,.10g}") for i in range(first, last + 1)]


def _padded(low: float, high: float) -> tuple[float, float]:
    """With some room at both ends."""
    room = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return low - room, high + room


class _Log:
    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Log":
        low = floor(log10(min(values)) - 1e-9)
        return cls(low, max(ceil(log10(max(values))), low + 1))

    def at(self, value: float) -> float:
        return max(0.0, (log10(value) - self.low) / (self.high - self.low)) if value > 0 else 0.0

    def grid(self, bottom: float) -> list[str]:
        every = ceil((self.high - self.low) / 8)
        return [_line(self.at(10.0**e), bottom, f"{10.0**e:,.10g}") for e in range(self.low, self.high + 1, every)]


def _nice(step: float) -> float:
    """1, 2 or 5 times a power of ten, at least `step`."""
    power = 10.0 ** floor(log10(step)) if step > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def _span(share: float) -> float:
    return share * (_WIDTH - _LABEL - _RIGHT)


def _line(share: float, bottom: float, text: str) -> str:
    x = _LABEL + _span(share)
    return f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom:.0f}"/>{_tick(x, bottom + 14, text)}'


def _tick(x: float, y: float, text: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.0f}" text-anchor="middle">{escape(text)}</text>'


def _unit(text: str, y: float) -> str:
    return f'<text class="unit" x="{(_LABEL + _WIDTH - _RIGHT) / 2:.0f}" y="{y:.0f}">{escape(text)}</text>'


def _short(label: str) -> str:
    """What fits beside the chart: of a long name its end, which tells layers apart."""
    return label if len(label) <= 28 else f"…{label[-27:]}"


def _svg(body: Sequence[str], height: float, chart: Chart, legend: Sequence[str]) -> str:
    keys = "".join(f'<span><i class="key s{i}"></i>{escape(text)}</span>' for i, text in enumerate(legend) if text)
    legends = f'<span class="legend">{keys}</span>' if keys else ""
    caption, belongs = escape(chart.caption), f' data-profile="{escape(chart.profile)}"' if chart.profile else ""
    return (
        f"<figure{belongs}><figcaption>{caption}{legends}</figcaption>"
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:.0f}" role="group" tabindex="0" '
        f'aria-label="{caption}; left and right arrow keys go through its values">{"".join(body)}</svg></figure>'
    )
