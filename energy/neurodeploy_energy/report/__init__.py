"""A report in the formats that people and programs read."""

from neurodeploy_energy.report.document import as_json
from neurodeploy_energy.report.frames import as_frame
from neurodeploy_energy.report.latex import as_latex
from neurodeploy_energy.report.markdown import as_markdown
from neurodeploy_energy.report.page import as_page
from neurodeploy_energy.report.reading import read_report
from neurodeploy_energy.report.spreadsheet import as_csv
from neurodeploy_energy.report.terminal import energy_table, further_tables, layer_table, spike_line
from neurodeploy_energy.report.writing import write_report

__all__ = [
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
