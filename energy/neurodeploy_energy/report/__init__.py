"""A report in the formats that people and programs read."""

from neurodeploy_energy.report.document import as_json
from neurodeploy_energy.report.formats import (
    as_csv,
    as_frame,
    as_latex,
    as_markdown,
    energy_table,
    further_tables,
    layer_table,
)
from neurodeploy_energy.report.page import as_page
from neurodeploy_energy.report.report import Report, account, account_onnx, read_report, write_report
from neurodeploy_energy.report.tables import spike_line

__all__ = [
    "Report",
    "account",
    "account_onnx",
    "as_csv",
    "as_frame",
    "as_json",
    "as_latex",
    "as_markdown",
    "as_page",
    "energy_table",
    "further_tables",
    "layer_table",
    "read_report",
    "spike_line",
    "write_report",
]
