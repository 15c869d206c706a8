"""The report as CSV: one line per layer, unrounded, the estimated energy under each profile beside the counts."""

import csv
import io
from dataclasses import asdict

from neurodeploy_energy.report.columns import energies
from neurodeploy_energy.result import Report


def as_csv(report: Report) -> str:
    """Comma-separated, with a header; a name that a spreadsheet would run as a formula is quoted with an apostrophe."""
    target = io.StringIO()
    columns = {profile.name: energies(report, profile.name) for profile in report.profiles}
    fields = [*asdict(report.layers[0]), *(f"estimated_uj_{name}" for name in columns)]
    writer = csv.DictWriter(target, fields, lineterminator="\n")
    writer.writeheader()
    for row in report.layers:
        values = asdict(row) | {f"estimated_uj_{name}": per_layer[row.name] for name, per_layer in columns.items()}
        writer.writerow({key: _harmless(value) for key, value in values.items()})
    return target.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
