"""The columns of the layer table, once for every format."""

from collections.abc import Callable
from dataclasses import dataclass

from neurodeploy_energy.result import LayerRow, Report


@dataclass(frozen=True)
class Column:
    """One column: its heading, what it means, and a row's value as a reader sees it."""

    heading: str
    meaning: str
    value: Callable[[LayerRow], float | None]
    form: Callable[[float], str]


def number(value: float) -> str:
    """`1,234.5`: thousands separated, one decimal only where it says something."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:,.1f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def microjoule(value: float) -> str:
    """Four significant digits, in µJ."""
    return f"{value:,.4g}"


COLUMNS = (
    Column("steps", "time steps in which the layer is evaluated", lambda row: row.steps or None, number),
    Column("neurons", "neurons of a spiking layer", lambda row: row.neurons or None, number),
    Column("spikes", "spikes emitted per sample", lambda row: row.spikes if row.neurons else None, number),
    Column("rate", "firing rate; of a synapse layer, share of non-zero inputs", lambda row: row.rate or None, percent),
    Column("SOPs", "synaptic operations per sample: spikes times true fan-out", lambda row: row.sops or None, number),
    Column("MACs", "multiply-accumulates per sample on analog inputs", lambda row: row.macs or None, number),
)


def cells(row: LayerRow) -> list[str]:
    """A row's values as text; what does not apply to the layer is empty."""
    values = ((column, column.value(row)) for column in COLUMNS)
    return ["" if value is None else column.form(value) for column, value in values]


def energies(report: Report, profile: str) -> dict[str, float]:
    """Layer → estimated µJ per sample."""
    return {layer.name: layer.total * 1e-6 for layer in report.energy(profile).layers}
