"""The report as pandas data frames, if pandas is installed."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from neurodeploy.io.errors import UserError
from neurodeploy_energy.report.columns import energies
from neurodeploy_energy.result import Report

if TYPE_CHECKING:
    from pandas import DataFrame


def as_frame(report: Report) -> "DataFrame":
    """One row per layer, by its name: the counts, unrounded, and the estimated energy under each profile in µJ.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UserError("pandas is not installed; pip install pandas, or read the report's CSV") from None
    values: list[dict[str, Any]] = [asdict(row) for row in report.layers]
    frame = pandas.json_normalize(values, sep="_").set_index("name")
    for profile in report.profiles:
        frame[f"estimated_uj_{profile.name}"] = frame.index.map(energies(report, profile.name))
    frame.attrs = {"name": report.name, "samples": report.samples, "steps": report.steps, "unit": "per sample"}
    return frame
