"""The report: an account of a model that prints itself, and is written in every format that people and programs read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import Literal

import torch
from torch import Tensor, nn

from neurodeploy.io.errors import UserError, one_line
from neurodeploy.io.files import atomic_members, write_text
from neurodeploy_energy.count.batches import Batches, Several
from neurodeploy_energy.count.layer import LayerRow
from neurodeploy_energy.count.one_pass import RunSetting, evaluating
from neurodeploy_energy.count.onnx_file import OnnxNetwork
from neurodeploy_energy.count.recognition import Axes, declared
from neurodeploy_energy.count.running import count
from neurodeploy_energy.count.widths import Widths, integer_widths, quantised_layers
from neurodeploy_energy.price.account import HOST, Account, compare, has_twins, verdicts
from neurodeploy_energy.price.profiles import Profile, load
from neurodeploy_energy.report.tables import COLUMNS, READOUT, accuracy_line, deployed_line, energies, microjoule

PROFILES = ("loihi1", "cmos45-fp32", "cmos45-int8")
_WIDTH, _ROWS, _MENTIONED, _NAME = 80, 10, 4, 20
_SHOWN = tuple(column for column in COLUMNS if column.heading in ("spikes", "rate", "SOPs", "MACs"))


@dataclass(frozen=True, repr=False)
class Report(Account):
    """An account of a model that shows itself: `print` it, look at it in a notebook, ask it, save it."""

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        size = f"{len(self.layers)} layers, {self.samples:,} samples"
        return f"<Report of {one_line(self.name)}: {size}; print it, or ask its layer(name)>"

    def _repr_html_(self) -> str:
        from neurodeploy_energy.report.page import as_fragment

        return as_fragment(self, summary(self))

    def save(
        self,
        folder: str | Path,
        *,
        title: str | None = None,
        facts: Mapping[str, str] | None = None,
        notices: Sequence[str] = (),
        spikes: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Path]:
        """Write the report in every format; see `write_report`. The title is the model's name, if there is none."""
        title = f"Energy of {self.name}" if title is None else title
        return write_report(self, folder, title=title, facts=facts, notices=notices, spikes=spikes)


def account(
    model: nn.Module,
    batches: Batches,
    *,
    steps: int | None = None,
    name: str = "model",
    baseline: Account | None = None,
    profiles: Sequence[str | Path | Profile] = PROFILES,
    batch_axis: int | None = None,
    time_axis: int | None = None,
    inputs: Literal["events", "analog"] | None = None,
    neurons: Mapping[str, Axes] | None = None,
    padding: bool = False,
    fold: bool = True,
    host: str | Path | Profile = HOST,
) -> Report:
    """Run a model over data and count its spikes and operations, layer by layer.

    Conventions: what a tensor is follows from what made it, and values only confirm it. A spike, of any height, costs its true
    fan-out in synaptic operations, and a graded one of k heights k times as much; a layer that reads analog values costs dense
    multiply-accumulates. The data are spikes if all of a layer's are 0, 1 or -1, else analog. Neurons are modules of a known
    class, or potentials in the code that are carried from step to step and compared with a threshold. What a layer reads in
    every step alike is computed once, and a note says what every step would cost. A module that is used in several places has a
    row for each. Average pooling of spikes is folded into the next synapse layer if its windows do not overlap. Batch norm is
    folded: no operations. Biases, activations, max pooling and the mean over time are not counted, products of activations are.
    What is not known is listed in `uncounted`.

    Memory beside the model's own does not grow with the data, but for 32 bytes a layer and sample (see `Series`): fan-out maps
    take 8 bytes a spatial position of a layer's input, and as much for each value of one step in channels with weights of zero;
    a mask takes a quarter of each weight while zeros are looked for; while a batch runs, masks take a quarter of the activation
    that is counted, or some three times it where it is analog, and the activations around average pools are kept to its end.

    Args:
        model: any torch module; called in evaluation mode, without gradients, and left as it was. What keeps a state between
            calls is set back before each batch, and random numbers are drawn from the same seed.
        batches: inputs, or tuples whose first element is the input; one tensor is one batch.
        steps: T. A model whose neurons take one step at a time and that has no loop over time of its own is called that often
            on each batch; any other must come to as many steps. None: once, and T is what its neurons saw.
        name: of the model in the report.
        baseline: a report to compare with.
        profiles: names of embedded profiles, paths of TOML files, or profiles; the first is the headline.
        batch_axis: axis of the input that holds the samples: 0 for `[B, …]`, 1 for `[T, B, …]`; None: that of the two along
            which a sample alone counts what it counts among others. One that is given is checked so.
        time_axis: axis of the input that holds the time steps; with `steps`, the model is called with one of them at a time.
        inputs: whether whole numbers of the data are events, or all data analog; None: see above.
        neurons: layer → its axes (see `register_neuron`), for layers of neurons that are not recognised.
        padding: whether multiply-accumulates on zeros of the padding count, as papers count them. Spikes never meet any.
        fold: whether layers of synapses with nothing between them that is not linear count as the one layer that computes the
            same, as a toolchain for inference makes of RepConv or RepVGG. Rows say what they would cost apart, and which layers
            would compute other values as one and stay apart. Batch norms are folded in any case.
        host: profile of the host, which computes what is on analog values where a profile is a chip's.

    Raises:
        UserError: there are no samples, one is not finite, the model does not run on them, no layer can be counted, the neurons
            see another number of steps or of samples, the axis of the samples is not clear, or a profile is not known.
    """
    costs = tuple(one if isinstance(one, Profile) else load(one) for one in profiles)
    processor = host if isinstance(host, Profile) else load(host)
    if inputs not in (None, "events", "analog"):
        raise UserError(f"{name}: inputs: {inputs!r} found, 'events', 'analog' or None expected")
    setting = RunSetting(
        steps,
        batch_axis,
        time_axis,
        None if inputs is None else inputs == "events",
        {layer: declared(axes) for layer, axes in (neurons or {}).items()},
        padding,
        fold,
    )
    widths: Widths = {}
    if steps is None and quantised_layers(model):
        first, batches = _peeked(batches)
        with torch.no_grad(), evaluating(model):
            widths = integer_widths(model, *first)
    counted = count(model, batches, setting, name=name)
    layers = tuple(_with_widths(row, widths) for row in counted.layers)
    report = Report(
        name, counted.samples, counted.steps, layers, counted.uncounted, costs, series=counted.series, host=processor
    )
    return report if baseline is None else replace(report, comparison=compare(report, baseline))


def _peeked(batches: Batches) -> tuple[tuple[Tensor, ...], Batches]:
    """The tensors of the first batch, and all of the batches."""
    if isinstance(batches, Tensor):
        return (batches,), batches
    if isinstance(batches, Several):
        return batches.tensors, batches
    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        return (), batches
    tensors = first.tensors if isinstance(first, Several) else (first if isinstance(first, Tensor) else first[0],)
    return tensors, chain([first], rest) if rest is batches else batches


def _with_widths(row: LayerRow, widths: Widths) -> LayerRow:
    """The row of a quantised layer with the widths that it multiplies."""
    weights, inputs = widths.get(row.name, (0, 0))
    if not weights:
        return row
    if inputs:
        return replace(row, weight_bits=weights, activation_bits=inputs)
    note = f"weights of {weights} bits; its inputs are not known to be integers, so it is priced in a profile's own numbers"
    return replace(row, note="; ".join(filter(None, (row.note, note))))


def account_onnx(
    network: OnnxNetwork,
    batches: Tensor | Iterable[Tensor],
    *,
    name: str | None = None,
    profiles: Sequence[str | Path | Profile] = PROFILES,
    host: str | Path | Profile = HOST,
) -> Report:
    """Count a network without spikes in an ONNX file, whoever wrote it; see `OnnxNetwork`.

    Every layer is dense work, of the integers that the file multiplies where it is quantised; zeros are counted too.

    Args:
        network: of the file.
        batches: samples `[N, …]`; one tensor is one batch.
        name: of the model in the report; the file's if None.
        profiles, host: as in `account`.

    Raises:
        UserError: there are no samples, they do not fit the file, or it has no layer that can be counted.
    """
    costs = tuple(one if isinstance(one, Profile) else load(one) for one in profiles)
    processor = host if isinstance(host, Profile) else load(host)
    counted = network.count([batches] if isinstance(batches, Tensor) else batches)
    return Report(name or network.path.stem, counted.samples, 1, counted.layers, counted.uncounted, costs, host=processor)


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
    """Write `report.html`, `.json`, `.md`, `.csv`, `.tex` and `figures/*.png`: all in place of an earlier report's, or none.

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
    with atomic_members(folder, stale=_FIGURES) as new:
        for ending, text in texts.items():
            write_text(new / paths[ending].name, text)
        figures = {name: drawn(chart) for name, chart in charts_of(report).items()}
        if spikes:
            figures["raster"] = raster(spikes, title=f"{report.name}: spikes of single neurons, one sample")
        for name, figure in figures.items():
            write_png(figure, new / "figures" / f"{name}.png")
            paths[name] = folder / "figures" / f"{name}.png"
    return paths


_FIGURES = [
    f"figures/{name}.png"
    for name in ("network", "spikes_per_layer", "energy_by_profile", "energy_by_layer_*", "rates_over_time", "raster")
]
"""Those of an earlier report, which may have been of other profiles."""


def as_text(report: Account) -> str:
    """Layers and their total under the headline profile, and what must be said of them, in 80 columns and on one screen."""
    title = f"{report.name}: mean per sample over {report.samples:,} samples, {report.steps} time steps"
    lines = [_filled(title), "", *_layer_lines(report), ""]
    return "\n".join(lines + [_filled(sentence) for sentence in summary(report)])


def summary(report: Account) -> list[str]:
    """Energies, verdict, and what is missing, one sentence each."""
    deployed = deployed_line(report)
    sentences = list(filter(None, [deployed or accuracy_line(report)]))
    sentences += [f"Estimated energy per sample: {_energies(report)}."] if report.profiles else []
    if report.profiles and has_twins(report):
        judged = verdicts(report)
        for twin, field in (("dense ReLU twin", "dense_factor"), (f"{judged[0].bits}-bit twin", "quantised_factor")):
            factors = [(v.profile.name, factor) for v in judged if (factor := getattr(v, field)) is not None]
            under = [f"{factor:.3g} × ({'less' if factor < 1 else 'more'}) under {profile}" for profile, factor in factors]
            sentences += [f"Against its {twin}: {_some(under)}."] if under else []
    for profile in report.profiles[:1]:
        left = report.energy(profile.name).left_out
        sentences += [f"Not in the total of {profile.name}: {_some(left)}."] if left else []
    if report.uncounted:
        sentences.append(f"Not counted: {_some([f'{layer} ({reason})' for layer, reason in report.uncounted.items()])}.")
    return [*sentences, *(f"{found}." for found in (*report.simulated, *report.measured))]


def _energies(report: Account) -> str:
    if report.comparison is None:
        return _some([f"{_total(report, p.name)} under {p.name}" for p in report.profiles])
    pairs = ((p, "" if p.change_percent is None else f" ({p.change_percent:+.1f} %)") for p in report.comparison.energies)
    under = _some([f"{_total(report, pair.profile.name)}{change} under {pair.profile.name}" for pair, change in pairs])
    return f"{under}; changes are against {report.comparison.baseline.name}"


def _total(report: Account, profile: str) -> str:
    total = report.energy(profile).total_uj
    return "no cost" if total is None else f"{microjoule(total)} µJ"


def _some(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - _MENTIONED} more" if len(texts) > _MENTIONED else ""
    return ", ".join(texts[:_MENTIONED]) + more


def _filled(sentence: str) -> str:
    return fill(one_line(sentence), _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _layer_lines(report: Account) -> list[str]:
    """Of a deep model the layers that cost most, and the rest as one line."""
    profile = report.profiles[0].name if report.profiles else ""
    known = bool(profile) and not report.energy(profile).says_nothing
    per_layer = energies(report, profile) if known else {}
    by_cost = sorted(report.layers, key=lambda row: (-per_layer.get(row.name, 0.0), -row.spikes, -row.sops, -row.macs))
    most = {row.name for row in (by_cost if len(by_cost) <= _ROWS + 1 else by_cost[:_ROWS])}
    cells = [_cells(row, row.name, per_layer.get(row.name)) for row in report.layers if row.name in most]
    rest = replace(report, layers=tuple(row for row in report.layers if row.name not in most))
    if rest.layers:
        other = sum(per_layer[row.name] for row in rest.layers) if known else None
        cells.append(_cells(rest.total, f"{len(rest.layers)} other layers", other))
    readout = report.energy(profile).readout_pj * 1e-6 if profile else 0.0
    if readout:
        cells.append([READOUT, *[""] * len(_SHOWN), microjoule(readout)])
    head = ["layer", *(column.heading for column in _SHOWN), f"µJ ({profile})" if 0 < len(profile) <= _NAME else "µJ"]
    foot = _cells(report.total, "total", report.energy(profile).total_uj if known else None)
    widths = [max(map(len, column)) for column in zip(head, foot, *cells, strict=True)]
    widths[0] = max(8, min(widths[0], _WIDTH - sum(widths[1:]) - 2 * len(_SHOWN) - 2))
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    lines = [_line(row, widths) for row in (head, *cells, foot)]
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _cells(row: LayerRow, name: str, energy: float | None) -> list[str]:
    values = ((column, column.value(row)) for column in _SHOWN)
    counts = ["" if value is None else _brief(value, column.form) for column, value in values]
    return [name, *counts, "" if energy is None else microjoule(energy)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *values = one_line(cells[0]), *cells[1:]
    short = name if len(name) <= widths[0] else f"…{name[1 - widths[0] :]}"
    return "  ".join([short.ljust(widths[0]), *(value.rjust(width) for value, width in zip(values, widths[1:], strict=True))])


def _brief(value: float, form: Callable[[float], str]) -> str:
    """Millions and more in four digits, so that a column stays narrow."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.4g} {letter}"
    return form(value)
