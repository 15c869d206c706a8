"""What a run measured, as text. A ratio is ours over the peer's: below 1 we are faster, or need less memory."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from benchmarks.results import Memory, NetworkAgreement, Result, Timing

Record = TypeVar("Record", Timing, Memory)
GRADIENT_TOLERANCE = 1e-4
OURS = "neurodeploy"


def text(result: Result) -> str:
    """The whole report."""
    m, threads = result.machine, max([t.threads for t in result.timings], default=1)
    head = [
        f"{result.day}  {m.cpu}, {m.cores} cores, {m.memory_gib:g} GiB, device {m.device}, allocator {m.allocator}",
        f"Python {m.python}, torch {m.torch}, " + ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        f"load average {m.load_before:g} before, {m.load_after:g} after"
        + ("  (other jobs ran too: ratios are rough)" if m.load_after > threads + 0.5 else ""),
        f"batch {result.batch}, input {'×'.join(map(str, result.input))}, 3×3 convolutions "
        + " → ".join(f"{channels}/{stride}" for channels, stride in zip(result.channels[1:], result.strides, strict=True)),
    ]
    parts = ["\n".join(head), agreement(result)]
    for first in ("once", "every step"):
        timings = [t for t in result.timings if t.first_layer == first]
        if timings:
            title = f"Seconds per pass, first layer {_WHEN[first]}; in brackets the ratios of our kernels"
            parts.append(f"{title}\n{_comparison(timings, lambda t: t.median_s, _seconds)}")
            if all(t.cpu_s is not None for t in timings):
                title = f"Processor seconds per pass, first layer {_WHEN[first]}"
                parts.append(f"{title}\n{_comparison(timings, lambda t: t.cpu_s or 0.0, _seconds)}")
        memory = [x for x in result.memory if x.first_layer == first]
        if memory:
            title = f"Peak memory of a pass, MiB, first layer {_WHEN[first]}; in brackets the ratios of our kernels"
            parts.append(f"{title}\n{_comparison(memory, lambda x: x.peak_bytes, _mebibytes)}")
    return "\n\n".join(parts) + "\n"


_WHEN = {"once": "once per sample", "every step": "at every step"}


def agreement(result: Result) -> str:
    """Spikes that differ, by subject, and what each framework's equation needs to be ours."""
    rows = [["", "T", "first layer", "spikes compared", "that differ", "gradient"]]
    rows += [
        [x.subject, str(x.steps), x.first_layer, f"{x.compared:,}", f"{x.different:,}", _gradient(x)] for x in result.networks
    ]
    neurons = [["", "reset", "neuron steps", "that differ"]]
    neurons += [[x.subject, x.reset, f"{x.compared:,}", f"{x.different:,}"] for x in result.neurons]
    notes = [f"{name}: {note}" for name, all_notes in result.notes.items() for note in all_notes]
    return "\n\n".join(
        [
            "Networks on the exact grid, hard reset\n" + table(rows),
            "Single neurons on random float32 currents\n" + table(neurons),
            "\n".join(notes),
        ]
    )


def _gradient(x: NetworkAgreement) -> str:
    if x.gradient_difference is None:
        return "other surrogate"
    return f"{x.gradient_difference:.0e}" + ("" if x.gradient_difference < GRADIENT_TOLERANCE else " DIFFERS")


def ratios(records: Sequence[Record], value: Callable[[Record], float]) -> dict[str, list[float]]:
    """Ours over each peer, by the peer's name: one ratio for each of our kernels, in their order. All of one column."""
    mine = [value(x) for x in records if x.subject.startswith(OURS)]
    return {x.subject: [own / value(x) for own in mine] for x in records if not x.subject.startswith(OURS)}


def column(record: Record) -> str:
    """What a record has in common with those it may be compared with."""
    threads = f", {record.threads} threads" if isinstance(record, Timing) and record.threads > 1 else ""
    return f"{record.mode}, T = {record.steps}{threads}"


def _comparison(records: Sequence[Record], value: Callable[[Record], float], shown: Callable[[float], str]) -> str:
    columns = list(dict.fromkeys(map(column, records)))
    subjects = list(dict.fromkeys(x.subject for x in records))
    rows = [["", *columns]]
    cells: dict[tuple[str, str], str] = {}
    best: dict[str, list[float]] = {}
    for name in columns:
        these = [x for x in records if column(x) == name]
        by_peer = ratios(these, value)
        for x in these:
            own = by_peer.get(x.subject)
            cells[x.subject, name] = shown(value(x)) + (f" ({' '.join(f'{r:.2f}' for r in own)})" if own else "")
        if by_peer:
            best[name] = [max(each) for each in zip(*by_peer.values(), strict=True)]
    rows += [[subject, *(cells.get((subject, name), "–") for name in columns)] for subject in subjects]
    if best:
        rows.append(["against the best peer", *(" ".join(f"{r:.2f}" for r in best.get(name, [])) for name in columns)])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first one to the left, the others to the right; a rule under the first row."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        right = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right]))
    return "\n".join(line.rstrip() for line in [lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def _mebibytes(value: float) -> str:
    return f"{value / 2**20:,.0f}"
