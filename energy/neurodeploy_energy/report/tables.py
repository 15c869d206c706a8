"""The tables of a report and what is said beside them, once for every format: a format draws them and adds nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from neurodeploy_energy.count.layer import LayerRow
from neurodeploy_energy.price.account import Account, change_percent, has_twins, verdicts
from neurodeploy_energy.price.deployment import DeploymentEnergy, deployment, headline
from neurodeploy_energy.price.estimate import Verdict, flips
from neurodeploy_energy.price.joules import Measurement
from neurodeploy_energy.price.profiles import Profile

CONVENTIONS = (
    "All counts are means per sample. Spikes, synaptic operations and updates are counted on the data; energies are estimates: "
    "counts times the constants of a profile.",
    "A synaptic operation (SOP) is one accumulation caused by one spike at one synapse: the exact fan-out of the neuron, with "
    "borders, strides and groups, weights of zero included.",
    "What a value is follows from what made it. A layer that reads analog values costs dense multiply-accumulates (MACs), "
    "those on padding aside; products of activations have rows of their own. What is the same in every step is computed once.",
    "Under a chip's profile, one without a cost of multiply-accumulates, the energy is that of chip and host together: the "
    "host computes its layers densely, zeros too, under a profile of its own. Any other profile prices the whole network as if "
    "one processor computed it. What cannot be priced has no number.",
    "Static power is in no total. Memory accesses are added by the profiles that end in the name of a memory model; a chip's "
    "constants have theirs in them.",
    "Batch norm is folded. Average pools of spikes are folded into the next synapse layer. Biases, ReLU, max pooling and the "
    "mean over time are not counted.",
)


@dataclass(frozen=True)
class TableCell:
    """What a reader sees, and the number behind it, by which a page sorts; None if there is none."""

    text: str
    value: float | None = None


Row = tuple[TableCell, ...]


NOTHING = TableCell("")


@dataclass(frozen=True)
class ReportTable:
    """A table of text.

    Attributes:
        title: above it.
        headings: of the columns.
        rows: as many cells as headings.
        foot: the total, if there is one.
        text: how many columns at the left hold text, and stand left.
        notes: sentences below it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    foot: Row | None = None
    text: int = 1
    notes: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The title as the beginning of a line."""
        return self.title[0].upper() + self.title[1:]


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
    """At least four significant digits, in µJ; large values in full rather than with an exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def maybe_microjoule(value: float | None) -> str:
    """The same, if there is a price."""
    return "no cost" if value is None else microjoule(value)


COLUMNS = (
    Column("steps", "time steps in which the layer is evaluated", lambda row: row.steps or None, number),
    Column("neurons", "neurons of a spiking layer", lambda row: row.neurons or None, number),
    Column("spikes", "spikes emitted per sample", lambda row: row.spikes if row.neurons else None, number),
    Column("rate", "firing rate; of a synapse layer, share of non-zero inputs", lambda row: row.rate or None, percent),
    Column("SOPs", "synaptic operations per sample: spikes times true fan-out", lambda row: row.sops or None, number),
    Column("MACs", "multiply-accumulates per sample on analog inputs", lambda row: row.macs or None, number),
)

FURTHER_COLUMNS = (
    Column("SOPs, weights ≠ 0", "the same, weights of zero not counted", lambda row: row.sops_nonzero_weights or None, number),
    Column("SOPs by rate", "rate · steps · dense MACs, as most papers count", lambda row: row.sops_by_rate or None, number),
    Column("effective MACs", "MACs without inputs and weights of zero", lambda row: row.effective_macs or None, number),
    Column("dense MACs", "MACs if every step were computed densely", lambda row: row.dense_macs or None, number),
    Column("adds", "accumulations in pools and sums", lambda row: row.adds + row.analog_adds or None, number),
    Column("active updates", "neuron updates with a current or a spike", lambda row: row.updates_active or None, number),
    Column("idle updates", "all other neuron updates", lambda row: row.updates_idle or None, number),
    Column("memory accesses", "reads and writes of values", lambda row: row.memory.total or None, number),
)
"""Columns that a page shows if its reader chooses them."""


def count_cell(column: Column, row: LayerRow | None) -> TableCell:
    """A count of a layer, or nothing."""
    value = None if row is None else column.value(row)
    return NOTHING if value is None else TableCell(column.form(value), value)


READOUT = "read-out neurons"
"""Line of what a chip's read-out neurons cost, which are no layer of the network."""


def energies(report: Account, profile: str) -> dict[str, float]:
    """Layer → estimated µJ per sample."""
    return {layer.name: layer.total * 1e-6 for layer in report.energy(profile).layers}


def layers(report: Account, profile: str, *, against: bool = True) -> ReportTable:
    """Layers and their total, with the estimated energy under one profile; beside the baseline's spikes if `against` one."""
    per_layer: dict[str, float] = {} if report.energy(profile).says_nothing else energies(report, profile)
    baseline = {row.name: row for row in report.comparison.baseline.layers} if report.comparison and against else {}
    rows = [_layer(row, baseline, per_layer.get(row.name)) for row in report.layers]
    if report.readout is not None:
        readout = report.energy(profile).readout_pj
        rows.append((TableCell(READOUT), *(NOTHING,) * (len(COLUMNS) + bool(baseline)), energy_cell(readout * 1e-6)))
    ours = {row.name for row in report.layers}
    rows += [_baseline_only(row) for row in baseline.values() if row.name not in ours and row.kind == "neuron"]
    total = (*_layer(report.total, {}, None)[:-1], energy_cell(report.energy(profile).total_uj))
    headings = ["layer", *(column.heading for column in COLUMNS)]
    if baseline:
        headings.insert(_AFTER_SPIKES, "baseline spikes")
        spikes = sum(row.spikes for row in baseline.values())
        total = (*total[:_AFTER_SPIKES], TableCell(number(spikes), spikes), *total[_AFTER_SPIKES:])
    title = f"{report.name}: per sample, mean over {report.samples:,} samples"
    said = tuple(filter(None, [accuracy_line(report)]))
    return ReportTable(title, (*headings, f"µJ ({profile}, estimate)"), tuple(rows), total, notes=said)


_AFTER_SPIKES = 1 + next(i for i, column in enumerate(COLUMNS) if column.heading == "spikes") + 1


def _layer(row: LayerRow, baseline: dict[str, LayerRow], energy: float | None) -> Row:
    cells = [TableCell(row.name), *(count_cell(column, row) for column in COLUMNS)]
    if baseline:
        other = baseline.get(row.name)
        spiking = other is not None and other.kind == "neuron"
        cells.insert(_AFTER_SPIKES, TableCell(number(other.spikes), other.spikes) if other and spiking else NOTHING)
    return (*cells, NOTHING if energy is None else energy_cell(energy))


def _baseline_only(row: LayerRow) -> Row:
    """A spiking layer that only the baseline has, such as the one that RepAct replaces."""
    spikes = TableCell(number(row.spikes), row.spikes)
    before = (NOTHING,) * (_AFTER_SPIKES - 1)
    return (TableCell(f"{row.name} (baseline alone)"), *before, spikes, *(NOTHING,) * (len(COLUMNS) + 1 - len(before)))


def profiles(report: Account) -> ReportTable:
    """Estimated energy under every profile, against the baseline if there is one."""
    title = "estimated energy per sample, µJ"
    counts = {p.name: TableCell(rung(p, report)) for p in report.profiles}
    if report.comparison is None:
        alone = tuple((TableCell(p.name), counts[p.name], energy_cell(report.energy(p.name).total_uj)) for p in report.profiles)
        return ReportTable(title, ("profile", "counts", report.name), alone, text=2)
    rows = tuple(
        (
            TableCell(pair.profile.name),
            counts[pair.profile.name],
            energy_cell(pair.model),
            energy_cell(pair.baseline),
            change_cell(pair.change_percent),
        )
        for pair in report.comparison.energies
    )
    headings = ("profile", "counts", report.name, report.comparison.baseline.name, "change")
    return ReportTable(title, headings, rows, text=2)


def rung(profile: Profile, report: Account) -> str:
    """What is in a profile's total, in a few words: the rung of the ladder on which it stands."""
    if profile.memory is not None:
        return f"arithmetic and memory ({profile.memory.name})"
    if profile.mac is not None:
        return "arithmetic alone" if profile.scope == "operation" else f"{profile.scope}, whole network"
    if report.host is None:
        return f"chip ({profile.scope}) alone"
    return f"chip ({profile.scope}) and host"


def twins(report: Account) -> ReportTable | None:
    """Where the verdict flips: the model against its twins under every profile; None for a network without spikes."""
    if not has_twins(report):
        return None
    judged = verdicts(report)
    return verdict_table(
        [(report.name, verdict) for verdict in judged],
        flips(judged),
        measured=report.twin is not None,
        deployed=report.host is not None,
    )


def verdict_table(
    judged: Sequence[tuple[str, Verdict]], sentences: Sequence[str], *, measured: bool, deployed: bool, named: bool = False
) -> ReportTable:
    """Models against their twins; a single one has a column only if it is `named`. `deployed`: a host stands beside chips."""
    single, bits = not named and len({name for name, _ in judged}) == 1, {verdict.bits for _, verdict in judged}
    width = f"{min(bits)}" if len(bits) == 1 else f"{min(bits)} to {max(bits)}"
    headings = ["profile", "spiking", "dense ReLU twin", "spiking / dense", f"{width}-bit twin", "spiking / quantised"]
    rows = []
    for name, v in judged:
        cells = [
            TableCell(v.profile.name),
            energy_cell(v.model_uj),
            _twin(v.dense_uj, "unknown" if v.profile.mac is not None or deployed else "no MAC cost"),
            _factor(v.dense_factor),
        ]
        cells += [
            _twin(v.quantised_uj, "unknown" if v.profile.numbers == "integer" else "no integers"),
            _factor(v.quantised_factor),
        ]
        cells += [NOTHING if v.break_even_rate is None else TableCell(percent(v.break_even_rate), v.break_even_rate)]
        cells += [_allowed(v.spikes_allowed)]
        rows.append(tuple(cells if single else [TableCell(name), *cells]))
    gamma = judged[0][1].sparsity
    skipped = "computes every zero too"
    if measured:
        skipped = "skips the zeros of its ReLUs and weights" + (f" ({percent(gamma)} of its work)" if single else "")
    notes = (
        f"The dense twin is the same network with ReLU, evaluated once; it {skipped}. The quantised twin is the dense one with "
        "activations of ⌈log2(T+1)⌉ bits, multiplied at a share of an integer multiplication's energy. At the break-even rate "
        "the spiking network costs as much as its dense twin in arithmetic, if all layers fired alike; break-even spikes are "
        "the share of this network's own spikes with which it does so in all that the profile prices. Under a chip's profile "
        "the twins run on its host.",
        *sentences,
    )
    title = "estimated energy per sample against twins without spikes, µJ"
    model = () if single else ("model",)
    return ReportTable(
        title, (*model, *headings, "break-even rate", "break-even spikes"), tuple(rows), text=1 + len(model), notes=notes
    )


def accuracy_of(report: Account) -> float | None:
    """In percent; None if it is not known."""
    return None if report.answers is None else 100 * report.answers[0] / report.answers[1]


def accuracy_line(report: Account) -> str:
    """The accuracy in one sentence, beside the baseline's; "" if it is not known."""
    ours, before = accuracy_of(report), None if report.comparison is None else accuracy_of(report.comparison.baseline)
    if ours is None or report.answers is None:
        return ""
    right, asked = report.answers
    said = f"Accuracy: {ours:.2f} %, {right:,} of {asked:,} answers are right"
    if before is None or report.comparison is None:
        return f"{said}."
    return f"{said}; {report.comparison.baseline.name} {before:.2f} %: {ours - before:+.2f} points."


def deployed_line(report: Account) -> str:
    """The headline in one sentence: the energy as deployed, beside the accuracy, against the baseline's; "" if not known."""
    ours = headline(report)
    if ours is None:
        return ""
    said = f"As deployed ({ours.pair}), µJ per sample: {_deployed(report, ours)}"
    before = None if report.comparison is None else headline(report.comparison.baseline)
    if before is None or report.comparison is None:
        return f"{said}."
    change = change_percent(ours.total_uj, before.total_uj)
    against = "" if change is None else f": {change:+.1f} %"
    return f"{said}; {_deployed(report.comparison.baseline, before)}{against}."


def _deployed(report: Account, parts: DeploymentEnergy) -> str:
    """`student 3.8 (chip 3.3, host 0.5, cut at the last-synapse), 97.80 % accuracy`."""
    known = accuracy_of(report)
    accuracy = "" if known is None else f", {known:.2f} % accuracy"
    if parts.total_uj is None:
        return f"{report.name} has no price{accuracy}"
    chip, host = microjoule(parts.chip_uj), microjoule(parts.host_uj)
    shares = f"chip {chip}, host {host}{_where(report)}" if parts.chip_uj else "all on the host"
    return f"{report.name} {microjoule(parts.total_uj)} ({shares}){accuracy}"


def _where(report: Account) -> str:
    return f", cut at the {report.cut}" if report.cut and not report.host_alone else ""


def deployments(report: Account) -> ReportTable | None:
    """Chip and host together and part by part, of the model and its baseline, beside accuracy; None if not known of both."""
    both = [report] if report.comparison is None else [report, report.comparison.baseline]
    if report.host is None:
        return None
    rows: list[Row] = []
    parts: list[DeploymentEnergy] = []
    for profile in report.profiles:
        found = [one for model in both if (one := deployment(model, profile, report.host)) is not None]
        if len(found) < len(both) or (profile.mac is not None and profile is not report.profiles[0]):
            continue
        parts = found
        pair = f"{profile.name} + {report.host.name}"
        rows.append(_part("chip and host together", pair, [one.total_uj for one in parts], maybe_microjoule))
        rows.append(_part("chip", profile.name, [one.chip_uj for one in parts], microjoule))
        static = [one.static_uj for one in parts if one.static_uj is not None]
        if static:
            rows.append(_part("chip, static, not in the sum", profile.name, static, microjoule))
    if not rows:
        return None
    name = report.host.name
    rows += [_part("encoder on the host", name, [one.encoder_uj for one in parts], microjoule)]
    rows += [_part("head on the host", name, [one.head_uj for one in parts], microjoule)]
    rows += [_part("encoder on the host, MACs", "", [one.encoder_macs for one in parts], number)]
    rows += [_part("head on the host, MACs", "", [one.head_macs for one in parts], number)]
    events = [one.event_driven_uj for one in parts]
    if any(_differ(one.total_uj, event) for one, event in zip(parts, events, strict=True)):
        pair = f"{parts[0].chip.name} + {name}"
        rows.append(_part("together, were the host event-driven (no file is)", pair, events, maybe_microjoule))
    if any(one.graded_values for one in parts):
        values = [TableCell(number(one.graded_values), one.graded_values) for one in parts]
        rows.append((TableCell("graded values that leave the chip"), NOTHING, *values, *(NOTHING,) * (len(both) - 1)))
    known = [value for model in both if (value := accuracy_of(model)) is not None]
    if len(known) == len(both):
        points = [TableCell(f"{known[0] - known[1]:+.2f} points", known[0] - known[1])] if len(known) > 1 else []
        cells = (TableCell(f"{value:.2f}", value) for value in known)
        rows.append((TableCell("accuracy, %"), NOTHING, *cells, *points))
    headings = ("part", "profile", *(one.name for one in both), *(("change",) if len(both) > 1 else ()))
    where = (
        "the layers between encoder and head on the chip, those two as dense work on a host, zeros computed too"
        if all(model.places for model in both)
        else "operations on spikes on the chip, those on analog values on a host; how a network is cut is known of its bundle"
    )
    notes = (
        f"As deployed: {where}. Both shares are estimates, of two technologies, added up under the one pair of profiles that "
        "each line names; what passes between chip and host, and static power, are in no profile's constants.",
    )
    return ReportTable("estimated energy per sample as deployed, µJ", headings, tuple(rows), text=2, notes=notes)


def _differ(total: float | None, events: float | None) -> bool:
    """By more than the order in which the same terms were added up."""
    return events is not None and (total is None or not isclose(total, events, rel_tol=1e-9))


def _part(part: str, profile: str, values: Sequence[float | None], form: Callable[[Any], str]) -> Row:
    change = [change_cell(change_percent(values[0], values[1]))] if len(values) > 1 else []
    return (TableCell(part), TableCell(profile), *(TableCell(form(value), value) for value in values), *change)


def measurements(report: Account) -> ReportTable | None:
    """Joules from counters, apart from every estimate; None if nobody tried to measure."""
    if not report.measured:
        return None
    rows, notes = (
        [],
        ["Read from the machine's counters while the model ran on it; not comparable with an estimate for a chip."],
    )
    for measured in report.measured:
        if not isinstance(measured, Measurement):
            rows.append((TableCell(measured.device), TableCell("not measured"), *(NOTHING,) * 5))
            notes.append(f"{measured}.")
            continue
        rows.append(
            (
                TableCell(measured.device),
                TableCell(measured.counter),
                energy_cell(measured.uj),
                energy_cell(measured.half_width),
                energy_cell(measured.gross_uj),
                TableCell(f"{measured.idle_w:,.4g}", measured.idle_w),
                TableCell(f"{measured.repeats} × {measured.seconds:.3g} s"),
            )
        )
    headings = ("device", "counter", "measured µJ", "± (95 %)", "measured µJ with idle", "measured idle W", "repeats")
    return ReportTable("measured energy per sample", headings, tuple(rows), text=2, notes=tuple(notes))


def all_tables(report: Account, profile: str) -> list[ReportTable]:
    """Every table of a report, the layers under one profile."""
    every = [deployments(report), layers(report, profile), profiles(report), twins(report), measurements(report)]
    return [table for table in every if table is not None]


def energy_cell(value: float | None) -> TableCell:
    return TableCell(maybe_microjoule(value), value)


def change_cell(value: float | None) -> TableCell:
    return NOTHING if value is None else TableCell(f"{value:+.1f} %", value)


def _twin(value: float | None, reason: str) -> TableCell:
    return TableCell(reason) if value is None else energy_cell(value)


def _allowed(share: float | None) -> TableCell:
    if share is None:
        return NOTHING
    return TableCell("none", 0.0) if share < 0 else TableCell(f"{100 * share:,.1f} %", share)


def _factor(value: float | None) -> TableCell:
    return NOTHING if value is None else TableCell(f"{value:.3g} × ({'less' if value < 1 else 'more'})", value)


def caveats(report: Account) -> list[str]:
    """What this report leaves out, in sentences."""
    sentences = [f"Not counted: layer {name}: {reason}." for name, reason in report.uncounted.items()]
    for profile in report.profiles:
        left = report.energy(profile.name).left_out
        if left:
            sentences.append(f"Not in the total of {profile.name}, which gives no cost for it, per sample: {'; '.join(left)}.")
        static = report.energy(profile.name).static_uj
        if static is not None:
            sentences.append(
                f"Static energy under {profile.name}, not in its total: {static:,.4g} µJ per sample, estimated from "
                f"{profile.static_mw:g} mW over {report.steps} steps of {profile.step_us:g} µs."
            )
    return sentences


def spike_line(report: Account) -> str:
    """Spikes per sample in one sentence."""
    spikes = f"{number(report.total.spikes)} spikes per sample"
    if report.comparison is None or not report.comparison.baseline.total.spikes:
        return spikes
    baseline = report.comparison.baseline
    change = 100 * (report.total.spikes / baseline.total.spikes - 1)
    return f"{spikes}, {number(baseline.total.spikes)} of {baseline.name}: {change:+.1f} %"
