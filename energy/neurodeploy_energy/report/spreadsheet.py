"""The report as CSV: one line per layer, unrounded, the estimated energy under each profile beside the counts."""

import csv
import io
from dataclasses import asdict
from typing import Any

from neurodeploy_energy.geometry import Geometry
from neurodeploy_energy.report.columns import energies
from neurodeploy_energy.report.tables import Table
from neurodeploy_energy.result import LayerRow, Report


def as_csv(report: Report) -> str:
    """Comma-separated, with a header; a name that a spreadsheet would run as a formula is quoted with an apostrophe."""
    target = io.StringIO()
    columns = {profile.name: energies(report, profile.name) for profile in report.profiles}
    fields = [*_flat(report.layers[0]), *(f"estimated_uj_{name}" for name in columns)]
    writer = csv.DictWriter(target, fields, lineterminator="\n")
    writer.writeheader()
    for row in report.layers:
        values = _flat(row) | {f"estimated_uj_{name}": per_layer[row.name] for name, per_layer in columns.items()}
        writer.writerow({key: _harmless(value) for key, value in values.items()})
    return target.getvalue()


def table_as_csv(table: Table) -> str:
    """A table as a reader sees it, its numbers unrounded."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(map(_harmless, table.headings))
    writer.writerows([_harmless(cell.text) if cell.value is None else cell.value for cell in row] for row in table.rows)
    return target.getvalue()


def _flat(row: LayerRow) -> dict[str, Any]:
    """A row as columns: `inputs_…` and `memory_…` for each kind, `geometry_…` for each part of the geometry."""
    values = asdict(row)
    geometry = values.pop("geometry")
    for group in ("inputs", "memory"):
        values |= {f"{group}_{key}": value for key, value in values.pop(group).items()}
    return values | {f"geometry_{key}": _cell(geometry[key]) if geometry else "" for key in Geometry.__dataclass_fields__}


def _cell(value: object) -> object:
    """A cell of one value: sizes as `3x3`, what is not known as nothing."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return "" if value is None else value


def _harmless(value: object) -> object:
    """No formula, and no carriage return, which the writer would leave without quotes."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t") else value
