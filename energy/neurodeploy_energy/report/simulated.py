"""The tables of an architecture simulator: what a body takes on its chip, and whether it fires there what it fires here."""

from collections.abc import Callable
from typing import Any

from neurodeploy_energy.price.account import Account
from neurodeploy_energy.price.simulated import Simulation
from neurodeploy_energy.report.tables import NOTHING, ReportTable, Row, TableCell, microjoule, number

_LINES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("energy, µJ", "total_uj", microjoule),
    ("of it synapses", "synapse_uj", microjoule),
    ("of it neurons", "neuron_uj", microjoule),
    ("of it messages and hops", "network_uj", microjoule),
    ("time steps", "steps", number),
    ("time, µs", "time_us", microjoule),
    ("time of the slowest sample, µs", "longest_us", microjoule),
    ("synaptic events", "synaptic_events", number),
    ("messages", "messages", number),
    ("of them the input's", "input_messages", number),
    ("hops", "hops", number),
    ("updates of active neurons", "updates", number),
)


def simulations(report: Account) -> list[ReportTable]:
    """Two tables for each simulator that ran: energy and time, and spikes. Apart from every estimate, in no total."""
    return [table for found in report.simulated for table in (_body(found), _spikes(found))]


def _body(found: Simulation) -> ReportTable:
    phases = [found.alone] if found.stream is None else [found.stream, found.alone]
    rows: list[Row] = []
    for heading, name, form in _LINES:
        values: list[Any] = [getattr(phase, name) for phase in phases]
        if name == "longest_us" and found.stream is not None:
            rows.append((TableCell(heading), NOTHING, TableCell(form(values[1]), values[1])))
        else:
            rows.append((TableCell(heading), *(TableCell(form(value), value) for value in values)))
    chips = "one chip" if found.chips == 1 else f"{found.chips} chips"
    notes = (
        f"Simulated by {found.simulator} {found.version} on {found.chip}: {found.samples:,} "
        f"{'sample' if found.samples == 1 else 'samples'} of {found.steps} steps on {found.cores:,} cores, and "
        f"{found.input_cores:,} for the input, in {found.tiles:,} tiles of {chips}. It is the chip's part alone, in no total.",
        "Alone, the chip is empty before the sample and runs until its last layer has answered: that time is the latency, and "
        "what biases fire before a layer's first spike and after its last is in the energy."
        + (
            " In a stream the next sample follows at once, and the time is that from one to the next."
            if found.stream is not None
            else ""
        ),
        f"Source: {found.source}.",
        *found.assumptions,
    )
    headings = ("per sample", *(("in a stream",) if found.stream is not None else ()), "alone")
    return ReportTable(f"architecture simulator: {found.simulator}, {found.chip}", headings, tuple(rows), notes=notes)


def _spikes(found: Simulation) -> ReportTable:
    rows = tuple(_layer(one.layer, one.ours, one.simulated, one.differing) for one in found.layers)
    note = (
        "Both fire the same spikes, neuron by neuron and step by step."
        if not found.spikes[2]
        else "What differs is neurons and steps in which one fires and the other does not."
    )
    return ReportTable(
        f"spikes in {found.simulator}, all {found.samples:,} samples together",
        ("layer", "ours", found.simulator, "change", "differing"),
        rows,
        _layer("total", *found.spikes),
        notes=(note,),
    )


def _layer(name: str, ours: int, simulated: int, differing: int) -> Row:
    change = 100 * (simulated / ours - 1) if ours else None
    return (
        TableCell(name),
        TableCell(number(ours), ours),
        TableCell(number(simulated), simulated),
        NOTHING if change is None else TableCell(f"{change:+.2f} %", change),
        TableCell(number(differing), differing),
    )
