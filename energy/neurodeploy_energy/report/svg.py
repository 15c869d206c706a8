"""Charts of a page as SVG: every mark tells its value under the pointer or, with the arrow keys, from the keyboard.

matplotlib draws the same charts for print, see `charts.py`; its SVG knows no marks to ask and no dark ground. Each chart is
drawn twice, for a wide window and for a phone, on which the text of the wide one would be too small; the page's style sheet
shows the one that fits.

Colours come from the page's style sheet (Okabe and Ito's palette; cividis for the heat map), so that they suit its ground.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

from neurodeploy.io.errors import one_line
from neurodeploy_energy.report.charts import BarChart, Chart, HeatMap, Scatter, crowded
from neurodeploy_energy.report.network import NetworkGraph

_ROW, _TOP = 15, 8
_CIVIDIS = ("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838")


@dataclass(frozen=True)
class Frame:
    """One layout: its width, the room at both sides of the plot, whether labels stand above their rows, and how many ticks."""

    name: str
    width: int
    left: int
    right: int
    above: bool
    ticks: int
    letters: int

    @property
    def plot(self) -> int:
        return self.width - self.left - self.right

    def at(self, share: float) -> float:
        """A place between the left end of the plot, 0, and the right one, 1."""
        return self.left + share * self.plot

    def label(self, text: str, y: float, middle: float) -> str:
        """Of a row whose top is at `y`, and whose middle at `middle`: above it, or to its left."""
        if self.above:
            return f'<text class="label" x="{self.left}" y="{y - 4:.1f}">{text_of(text, self.letters)}</text>'
        x = self.left - 8
        return f'<text class="label" x="{x}" y="{middle:.1f}" text-anchor="end">{text_of(text, self.letters)}</text>'


FRAMES = (Frame("wide", 900, 210, 110, False, 5, 28), Frame("narrow", 360, 10, 70, True, 3, 44))


def drawn(chart: Chart) -> str:
    """A `<figure>` with both layouts; one that belongs to a profile says so."""
    legend = chart.legend if isinstance(chart, BarChart | NetworkGraph) else ()
    keys = "".join(f'<span><i class="key s{i}"></i>{text_of(text)}</span>' for i, text in enumerate(legend) if text)
    legends = f'<span class="legend">{keys}</span>' if keys else ""
    caption, belongs = text_of(chart.caption), f' data-profile="{escape(chart.profile)}"' if chart.profile else ""
    layouts = "".join(_layout(chart, frame, caption) for frame in FRAMES)
    return f"<figure{belongs}><figcaption>{caption}{legends}</figcaption>{layouts}</figure>"


def _layout(chart: Chart, frame: Frame, caption: str) -> str:
    if isinstance(chart, BarChart):
        body, height = _bars(chart, frame)
    elif isinstance(chart, HeatMap):
        body, height = _heat_map(chart, frame)
    elif isinstance(chart, Scatter):
        body, height = _scatter(chart, frame)
    else:
        body, height = _network(chart, frame)
    return (
        f'<svg class="chart {frame.name}" viewBox="0 0 {frame.width} {height:.0f}" role="group" tabindex="0" '
        f'aria-label="{caption}; left and right arrow keys go through its values">{"".join(body)}</svg>'
    )


Drawing = tuple[list[str], float]
"""Elements, and the height that they take."""


def _bars(chart: BarChart, frame: Frame) -> Drawing:
    rows, stacked = chart.rows, chart.stacked
    values = [bar.value for row in rows.values() for bar in row if bar.value]
    lengths = [sum(bar.value or 0.0 for bar in row) for row in rows.values()] if stacked else values
    axis = _Log.of(values) if chart.log and values else _Linear(0.0, max(lengths, default=0.0) or 1.0)
    longest = max((len(chart.form(value)) for value in lengths), default=0)
    frame = replace(frame, right=max(frame.right, 12 + 7 * longest))  # for the number beside the longest bar
    body, y = [], float(_TOP)
    for label, row in rows.items():
        y += 15 if frame.above else 0
        height = _ROW if stacked else max(1, len(row)) * _ROW
        body.append(frame.label(label, y, y + height / 2 + 3))
        start = 0.0
        for nth, bar in enumerate(row):
            top = y if stacked else y + nth * _ROW
            value = bar.value or 0.0
            length = (axis.at(start + value) - axis.at(start)) * frame.plot if value > 0 else 0.0
            begin = frame.at(axis.at(start))
            body.append(
                f'<rect class="mark s{bar.style}" x="{begin:.1f}" y="{top:g}" width="{max(length, 1.0):.1f}" '
                f'height="{_ROW - 2}" data-tip="{text_of(bar.tip)}"/>'
            )
            start += value if stacked else 0.0
            if not stacked:
                body.append(_value(begin + length, top, "no price" if bar.value is None else chart.form(bar.value)))
        if stacked:
            body.append(_value(frame.at(axis.at(start)), y, chart.form(start)))
        y += height + 7
    return [*axis.grid(y, frame), *body, _unit(chart.unit, y + 32, frame)], y + 40


def _value(x: float, top: float, text: str) -> str:
    return f'<text class="value" x="{x + 5:.1f}" y="{top + 11:g}">{text_of(text)}</text>'


def _heat_map(chart: HeatMap, frame: Frame) -> Drawing:
    rows = chart.rows
    most = max((value for values in rows.values() for value in values), default=0.0) or 1.0
    columns = max((len(values) for values in rows.values()), default=1)
    right = frame.right if not frame.above else frame.left
    width, size = (frame.width - frame.left - right) / columns, 18
    body, y = [], float(_TOP)
    for label, values in rows.items():
        y += 15 if frame.above else 0
        body.append(frame.label(label, y, y + 13))
        for step, value in enumerate(values):
            colour = _CIVIDIS[min(len(_CIVIDIS) - 1, int(value / most * len(_CIVIDIS)))]
            tip = text_of(chart.tip.format(row=label, place=step + 1, value=value))
            body.append(
                f'<rect class="mark" fill="{colour}" x="{frame.left + step * width:.1f}" y="{y:g}" width="{width - 1:.1f}" '
                f'height="{size - 1}" data-tip="{tip}"/>'
            )
        y += size
    every = ceil(columns / (3 * frame.ticks))
    body += [_tick(frame.left + (step + 0.5) * width, y + 14, str(step + 1)) for step in range(0, columns, every)]
    body += [_unit(chart.unit, y + 32, frame)]
    scale, top = (frame.width - 92, y + 4) if not frame.above else (frame.left + 20, y + 42)
    for i, colour in enumerate(_CIVIDIS):
        body.append(f'<rect fill="{colour}" x="{scale + 7 * i}" y="{top:g}" width="7" height="10"/>')
    ends = (_tick(scale, top + 24, "0"), _tick(scale + 70, top + 24, f"{most:.1%}"))
    return [*body, *ends], y + (74 if frame.above else 40)


def _scatter(chart: Scatter, frame: Frame) -> Drawing:
    points = chart.points
    height = 380
    frame = frame if not frame.above else Frame(frame.name, frame.width, 48, 16, True, frame.ticks, 22)
    xs = [x for p in points for x in (p.x, *(p.across or ()))]
    ys = [y for p in points for y in (p.y, *(p.up or ()))]
    decades = min(xs) > 0 and max(xs) > 10 * min(xs)
    axis = _Log.of(xs) if decades else _Linear(*_padded(min(xs), max(xs)))
    low, high = _padded(min(ys), max(ys))

    def across(x: float) -> float:
        return frame.at(axis.at(x))

    def up(y: float) -> float:
        return _TOP + (height - _TOP) * (high - y) / (high - low)

    step = _nice((high - low) / 5)
    body = []
    for i in range(ceil(low / step), floor(high / step) + 1):
        y, text = up(i * step), f"{i * step:.10g}"
        body.append(f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(f'<text class="tick" x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    front = sorted((p for p in points if p.front), key=lambda p: p.x)
    for a, b in pairwise(front):
        corner = f"M{across(a.x):.1f} {up(a.y):.1f}H{across(b.x):.1f}V{up(b.y):.1f}"
        body.append(f'<path class="front" d="{corner}"/>')
    for p, nth in zip(points, crowded(points), strict=True):
        x, y = across(p.x), up(p.y)
        if p.across is not None:
            body.append(f'<path class="whisker" d="M{across(p.across[0]):.1f} {y:.1f}H{across(p.across[1]):.1f}"/>')
        if p.up is not None:
            body.append(f'<path class="whisker" d="M{x:.1f} {up(p.up[0]):.1f}V{up(p.up[1]):.1f}"/>')
        body.append(f'<circle class="mark s{p.style}" cx="{x:.1f}" cy="{y:.1f}" r="6" data-tip="{text_of(p.tip)}"/>')
        if p.label:
            side = f'x="{x + 10:.1f}"' if x < frame.width * 0.6 else f'x="{x - 10:.1f}" text-anchor="end"'
            line = y + _BESIDE[nth % len(_BESIDE)]
            body.append(f'<text class="label" {side} y="{line:.1f}">{text_of(p.label, frame.letters)}</text>')
    middle = f"translate({14 if frame.above else frame.left - 60} {height / 2:.0f}) rotate(-90)"
    body.append(f'<text class="unit" transform="{middle}">{text_of(chart.y_unit)}</text>')
    return [*axis.grid(height, frame), *body, _unit(chart.x_unit, height + 32, frame)], height + 40


_BESIDE = (-7, 17, -21, 31)
"""Heights of labels of points that are near each other."""
_STEP, _BOX = 46, 22
"""From one row of a network to the next, and the height of its box."""


def _network(chart: NetworkGraph, frame: Frame) -> Drawing:
    """Rows one below the other; what is read across others goes round them at the right, in a lane of its own."""
    left, width = (8, 170) if frame.above else (40, 300)
    end = left + width
    lanes = max((edge.lane for edge in chart.edges), default=0)
    spacing = min(64.0, (frame.width - end - 52) / max(1, lanes))
    body = []

    def top(row: int) -> float:
        return _TOP + row * _STEP

    for edge in chart.edges:
        begin, finish = top(edge.source) + _BOX, top(edge.target)
        if edge.lane == 0:
            x, path = left + 24.0, f"M{left + 24} {begin:g}V{finish - 5:g}"
            head, (at, y) = f"M{x - 4:g} {finish - 6:g}h8l-4 6z", (x + 8, (begin + finish) / 2 + 4)
        else:
            x, up, down = end + edge.lane * spacing, begin - 6, finish + 6
            path = f"M{end} {up:g}H{x:.1f}V{down:g}H{end + 6}"
            head, (at, y) = f"M{end + 7} {down - 4:g}v8l-7 -4z", (x + 4, (up + down) / 2 + 4)
        style = "quiet" if edge.share is None else "s0"
        thick = 1.5 if edge.share is None else 1.5 + 4 * min(1.0, edge.share) ** 0.5
        body.append(f'<path class="edge {style}" stroke-width="{thick:.1f}" d="{path}"/>')
        body.append(f'<path class="mark {style}" d="{head}" data-tip="{text_of(edge.tip)}"/>')
        if edge.label and (edge.lane == 0 or spacing > 44):
            body.append(f'<text class="value" x="{at:.1f}" y="{y:.1f}">{text_of(edge.label)}</text>')
    for row, node in enumerate(chart.nodes):
        y = top(row)
        body.append(f'<rect class="mark box {node.style}" x="{left}" y="{y:g}" width="{width}" height="{_BOX}" rx="4" ')
        body.append(f'data-tip="{text_of(node.tip)}"/>')
        name = text_of(node.name, 20 if frame.above else 40)
        body.append(f'<text class="label" x="{left + 8}" y="{y + 15:g}" pointer-events="none">{name}</text>')
    return body, top(len(chart.nodes)) - _STEP + _BOX + 10


class _Linear:
    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def at(self, value: float) -> float:
        """From 0 at the left to 1 at the right."""
        return (value - self.low) / (self.high - self.low)

    def grid(self, bottom: float, frame: Frame) -> list[str]:
        step = _nice((self.high - self.low) / frame.ticks)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        return [_line(frame.at(self.at(i * step)), bottom, f"{i * step:,.10g}") for i in range(first, last + 1)]


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

    def grid(self, bottom: float, frame: Frame) -> list[str]:
        every = ceil((self.high - self.low) / (2 * frame.ticks - 2))
        exponents = range(self.low, self.high + 1, every)
        return [_line(frame.at(self.at(10.0**e)), bottom, f"{10.0**e:,.10g}") for e in exponents]


def _nice(step: float) -> float:
    """1, 2 or 5 times a power of ten, at least `step`."""
    power = 10.0 ** floor(log10(step)) if step > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))


def _line(x: float, bottom: float, text: str) -> str:
    return f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom:.0f}"/>{_tick(x, bottom + 14, text)}'


def _tick(x: float, y: float, text: str) -> str:
    anchor, at = ("start", 2.0) if 3 * len(text) > x else ("middle", x)  # at the edge of a narrow chart
    return f'<text class="tick" x="{at:.1f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _unit(text: str, y: float, frame: Frame) -> str:
    x = frame.width / 2 if frame.above else (frame.left + frame.width - frame.right) / 2
    return f'<text class="unit" x="{x:.0f}" y="{y:.0f}">{text_of(text, 2 * frame.letters)}</text>'


def text_of(text: str, most: int | None = None) -> str:
    """Text for HTML; of a long name its end, which tells layers apart."""
    text = one_line(text)
    return escape(text if most is None or len(text) <= most else f"…{text[1 - most :]}")
