"""A report in the formats that people and programs read."""

from neurodeploy_energy.report.document import as_json
from neurodeploy_energy.report.markdown import as_markdown
from neurodeploy_energy.report.page import as_page
from neurodeploy_energy.report.spreadsheet import as_csv
from neurodeploy_energy.report.terminal import energy_table, layer_table, spike_line
from neurodeploy_energy.report.writing import write_report

__all__ = ["as_csv", "as_json", "as_markdown", "as_page", "energy_table", "layer_table", "spike_line", "write_report"]
