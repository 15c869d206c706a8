"""The report: an account of a model that prints itself, and is written in every format that people and programs read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from neurodeploy.files import write_text
from neurodeploy_energy.count.running import Batches, count
from neurodeploy_energy.price.account import Account, compare
from neurodeploy_energy.price.profiles import load

PROFILES = ("cmos45-fp32", "cmos45-int8", "loihi1")


@dataclass(frozen=True)
class Report(Account):
    """An account of a model that shows itself."""


def account(
    model: nn.Module,
    batches: Batches,
    *,
    steps: int | None = None,
    name: str = "model",
    baseline: Account | None = None,
    profiles: Sequence[str] = PROFILES,
    batch_axis: int = 0,
) -> Report:
    """Run a model over data and count its spikes and operations, layer by layer.

    Conventions: every input value of a synapse layer is looked at. A whole number is a spike, which costs its true fan-out in
    synaptic operations (a value of k costs k times as much); an analog value costs as many multiply-accumulates. A layer whose
    non-zero inputs are all analog costs dense multiply-accumulates; so does one that reads what comes into the network before
    any neuron has fired, or an ordinary activation such as ReLU, if any value of it is analog. Average pooling of spikes is
    folded into the next synapse layer if its windows do not overlap. Batch norm is folded: no operations. Biases, activations,
    max pooling and the mean over time are not counted.

    Memory beside the model's own does not grow with the data, but for 32 bytes a layer and sample (see `Series`): fan-out maps
    take 8 bytes a spatial position of a layer's input, and as much for each value of one step in channels with weights of zero;
    a mask takes a quarter of each weight while zeros are looked for; while a batch runs, masks take a quarter of the activation
    that is counted, or some three times it where it is analog, and the activations around average pools are kept to its end.

    Args:
        model: any torch module; called in evaluation mode, without gradients, and left as it was. Neurons that keep a state
            between calls (SpikingJelly, sinabs, snnTorch) are reset before each batch.
        batches: inputs, or tuples whose first element is the input.
        steps: T. A model whose neurons take one step at a time and that has no loop over time of its own is called that often
            on each batch; any other must come to as many steps. None: once, and T is what its neurons saw.
        name: of the model in the report.
        baseline: a report to compare with.
        profiles: names of embedded profiles, or paths of TOML files; the first is the headline.
        batch_axis: axis of the input that holds the samples: 0 for `[B, …]`, 1 for `[T, B, …]`.

    Raises:
        UserError: there are no samples, the model does not run on them, no layer can be counted, the neurons see another
            number of steps, or a profile is not known.
    """
    costs = tuple(load(one) for one in profiles)
    found = count(model, batches, steps=steps, name=name, batch_axis=batch_axis)
    report = Report(name, found.samples, found.steps, found.layers, found.uncounted, costs, series=found.series)
    return report if baseline is None else replace(report, comparison=compare(report, baseline))


def read_report(path: str | Path) -> Report:
    """Read a `report.json`.

    Spikes of single layers by sample are not in such a file; those of the whole model are, and those of each layer by step.

    Raises:
        UserError: it is missing, damaged, or of another schema version; the first field at fault is named.
    """
    from neurodeploy_energy.report.document import read_account

    return read_account(Path(path), Report)


def write_report(
    report: Account,
    folder: str | Path,
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
    from neurodeploy_energy.report.charts import charts_of
    from neurodeploy_energy.report.document import as_json
    from neurodeploy_energy.report.figures import drawn, raster, write_png
    from neurodeploy_energy.report.formats import as_csv, as_latex, as_markdown
    from neurodeploy_energy.report.page import as_page

    folder = Path(folder)
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
    figures = {name: drawn(chart) for name, chart in charts_of(report).items()}
    if spikes:
        figures["raster"] = raster(spikes, title=f"{report.name}: spikes of single neurons, one sample")
    for name, figure in figures.items():
        paths[name] = folder / "figures" / f"{name}.png"
        write_png(figure, paths[name])
    return paths
