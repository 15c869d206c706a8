"""Writing a report in every format into one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from neurodeploy.io.files import atomic_file, write_text
from neurodeploy_energy.report.document import as_json
from neurodeploy_energy.report.figures import all_figures, raster
from neurodeploy_energy.report.latex import as_latex
from neurodeploy_energy.report.markdown import as_markdown
from neurodeploy_energy.report.page import as_page
from neurodeploy_energy.report.spreadsheet import as_csv
from neurodeploy_energy.result import Report


def write_report(
    report: Report,
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    notices: Sequence[str] = (),
    spikes: Mapping[str, Tensor] | None = None,
) -> dict[str, Path]:
    """Write `report.html`, `.json`, `.md`, `.csv`, `.tex` and `figures/*.png`.

    Args:
        report: what is written.
        folder: made if it is missing.
        title: heading of the page and the Markdown.
        facts: heading → value, shown on the page: origin of the model, data, accuracies.
        notices: sentences that a reader of the page must see first.
        spikes: of chosen neurons, for a raster; see `neurodeploy_energy.record`.

    Returns:
        Format or figure name → path.
    """
    texts = {
        "html": as_page(report, title=title, facts=facts or {}, notices=notices),
        "json": as_json(report),
        "md": as_markdown(report, title=title),
        "csv": as_csv(report),
        "tex": as_latex(report),
    }
    paths = {ending: folder / f"report.{ending}" for ending in texts}
    for ending, text in texts.items():
        write_text(paths[ending], text)
    figures = all_figures(report)
    if spikes:
        figures["raster"] = raster(spikes, title=f"{report.name}: spikes of single neurons, one sample")
    for name, figure in figures.items():
        paths[name] = folder / "figures" / f"{name}.png"
        with atomic_file(paths[name]) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    return paths
