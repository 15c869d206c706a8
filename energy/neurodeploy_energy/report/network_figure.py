"""The graph of a network for print; see `network.py`. A page has a drawing of its own, see `svg.py`."""

from textwrap import fill
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from neurodeploy.io.errors import one_line
from neurodeploy_energy.report.network import GraphEdge, NetworkGraph

_GROUNDS = {"fires": "#DCEBF5", "works": "#F5F7F9", "data": "#FFFFFF"}
_SPIKES, _QUIET = "#0072B2", "#76828F"
_BOX, _LANE, _LETTERS = 3.2, 0.75, 36


def network(chart: NetworkGraph) -> Figure:
    """Rows one below the other, an inch wide for each unit of the horizontal axis; edges with their rates."""
    lanes = max((edge.lane for edge in chart.edges), default=0)
    width, rows = _BOX + 1.2 + _LANE * lanes, len(chart.nodes)
    figure = Figure(figsize=(max(6.0, width + 0.4), 0.46 * rows + 1.1), layout="constrained")
    axes = figure.add_subplot()
    figure.suptitle(fill(one_line(chart.caption), int(10 * max(6.0, width))), x=0.01, ha="left", fontsize=12, parse_math=False)
    for edge in chart.edges:
        style = {"arrowstyle": "-|>", "color": _SPIKES if edge.share is not None else _QUIET, "linewidth": _thickness(edge)}
        if edge.lane == 0:
            ends, label = ((0.3, edge.source + 0.26), (0.3, edge.target - 0.26)), (0.42, (edge.source + edge.target) / 2)
        else:
            x = _BOX + edge.lane * _LANE
            axes.plot([_BOX, x, x], [edge.source + 0.14, edge.source + 0.14, edge.target - 0.14], **_line(edge))
            ends, label = ((x, edge.target - 0.14), (_BOX, edge.target - 0.14)), (x + 0.06, (edge.source + edge.target) / 2)
        axes.annotate("", ends[1], ends[0], arrowprops=style | {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 9})
        axes.text(*label, edge.label, fontsize=8, va="center", color="#333333")
    for row, node in enumerate(chart.nodes):
        box = FancyBboxPatch(
            (0, row - 0.2), _BOX, 0.4, boxstyle="round,pad=0.02", facecolor=_GROUNDS[node.style], edgecolor=_QUIET
        )
        axes.add_patch(box)
        name = one_line(node.name)
        shown = name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
        axes.text(0.12, row, shown, fontsize=9, va="center", parse_math=False)
    axes.set_xlim(-0.1, width)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_axis_off()
    return figure


def _thickness(edge: GraphEdge) -> float:
    return 1.0 if edge.share is None else 1.0 + 3 * min(1.0, edge.share) ** 0.5


def _line(edge: GraphEdge) -> dict[str, Any]:
    return {"color": _QUIET if edge.share is None else _SPIKES, "linewidth": _thickness(edge), "solid_joinstyle": "round"}
