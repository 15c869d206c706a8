"""A picture of core use: every chip as a grid of cores, as a matplotlib Figure without global state.

A core's colour (and hatching, where colours run out) is its population; the height of its fill is the share in use of the
resource of which it uses the largest one, but never so low that the colour could not be seen. Colours are Okabe and Ito's,
which people with any colour vision can tell apart.
"""

from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from neurodeploy_exporters.lava.mapping.result import WORDS, Mapping, percent

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
_HATCHES = ("", "////", "....", "xxxx")
_COLUMNS = 16
_MOST_CHIPS = 32
_GAP = 0.08
_LEAST_FILL = 0.06


@dataclass(frozen=True)
class _Fill:
    """Of one core: its population's colour and hatching, and how full it is."""

    colour: str
    hatch: str
    share: float


def picture(mapping: Mapping) -> Figure:
    """All chips, at most 32 of them."""
    fills = [
        _Fill(*_style(number), core.use.fullest(mapping.chip)[1])
        for number, population in enumerate(mapping.placed)
        for core in population.cores
    ]
    size = mapping.chip.cores.value
    shown = max(1, min(mapping.chips, _MOST_CHIPS))
    columns = min(shown, 1 if shown == 1 else 2 if shown <= 4 else 4)
    rows = ceil(shown / columns)
    legend_rows = ceil(max(1, len(mapping.placed)) / _per_row(columns))
    width = {1: 9.0, 2: 13.0}.get(columns, 20.0)
    panel = (width / columns - 0.9) * ceil(size / _COLUMNS) / _COLUMNS + 1.0
    figure = Figure(figsize=(width, rows * panel + 0.3 * legend_rows + 0.7), layout="compressed")
    grid = figure.subplots(rows, columns, squeeze=False)
    for chip, axes in enumerate(grid.flat):
        if chip < shown:
            _draw_chip(axes, fills[chip * size : (chip + 1) * size], size)
            axes.set_title(f"chip {chip + 1}", fontsize=13, loc="left")
            axes.set_xlabel("core, column", fontsize=12)
            axes.set_ylabel("core, row", fontsize=12)
        else:
            axes.set_visible(False)
    left_out = f"; the first {shown} chips are shown" if shown < mapping.chips else ""
    approximate = " (approximate)" if mapping.chip.approximate else ""
    figure.suptitle(
        f"{mapping.chip.title}{approximate}: {mapping.cores:,} cores in use on {mapping.chips:,} "
        f"chip{'' if mapping.chips == 1 else 's'} of {size}{left_out}\n"
        "fill of a core: share in use of its fullest resource, 0 to 100 %",
        fontsize=14,
    )
    _legend(figure, mapping, columns)
    return figure


def _draw_chip(axes: Axes, fills: list[_Fill], size: int) -> None:
    rows = ceil(size / _COLUMNS)
    for number in range(size):
        row, column = divmod(number, _COLUMNS)
        corner, side = (column + _GAP / 2, row + _GAP / 2), 1 - _GAP
        axes.add_patch(Rectangle(corner, side, side, facecolor="#F2F2F2", edgecolor="none"))
        for fill in islice(fills, number, number + 1):
            # rows are counted downwards, fills grow upwards
            height = side * max(fill.share, _LEAST_FILL)
            low = (corner[0], corner[1] + side - height)
            filled: dict[str, Any] = {"facecolor": fill.colour, "hatch": fill.hatch, "edgecolor": "white", "linewidth": 0}
            axes.add_patch(Rectangle(low, side, height, **filled))
        outline = "#404040" if number < len(fills) else "#C0C0C0"  # a core with little in it looks empty otherwise
        axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=outline, linewidth=0.8))
    axes.set_xlim(0, _COLUMNS)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    axes.set_xticks([column + 0.5 for column in range(0, _COLUMNS, 4)], [str(column) for column in range(0, _COLUMNS, 4)])
    axes.set_yticks([row + 0.5 for row in range(0, rows, 2)], [str(row) for row in range(0, rows, 2)])
    axes.tick_params(labelsize=11, length=0)
    axes.spines[:].set_visible(False)


def _legend(figure: Figure, mapping: Mapping, columns: int) -> None:
    handles = []
    for number, population in enumerate(mapping.placed):
        colour, hatch = _style(number)
        resource, share = population.fullest(mapping.chip)
        cores = len(population.cores)
        label = f"{population.key}: {cores:,} core{'' if cores == 1 else 's'}, {WORDS[resource]} {percent(share)}"
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=label))
    if not handles:
        return
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=_per_row(columns), fontsize=12, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _per_row(columns: int) -> int:
    return {1: 2, 2: 3}.get(columns, 4)


def _style(number: int) -> tuple[str, str]:
    return _COLOURS[number % len(_COLOURS)], _HATCHES[number // len(_COLOURS) % len(_HATCHES)]
