"""Two tables that set a report beside others: counts of other tools, and the rates at which a twin costs as much."""

from collections.abc import Iterable

from neurodeploy_energy.price.account import Account, has_twins, verdicts
from neurodeploy_energy.price.reconciliation import Ledger, reconcile
from neurodeploy_energy.report.tables import NOTHING, ReportTable, Row, TableCell, energy_cell, number, percent

MAC_PJ, AC_PJ = 4.6, 0.9
"""What papers price these counts with: 32-bit floating point in 45 nm (Horowitz, ISSCC 2014)."""


def reconciling_tables(report: Account, *, reasons: bool = True) -> list[ReportTable]:
    """Those of the two that there is anything to say in; `reasons`: see `counters`."""
    return [table for table in (break_evens(report), counters(report, reasons=reasons)) if table is not None]


def counters(report: Account, *, reasons: bool = True) -> ReportTable | None:
    """What other tools would count of the same run, and why; None for a network that none of them knows.

    Args:
        report: whose counts.
        reasons: a line for each rule that a tool does not share; else one line for each tool.
    """
    ledgers = reconcile(report.layers, report.steps)
    if not ledgers:
        return None
    total = report.total
    rows = [_counts("this report", total.macs, total.sops + total.adds + total.analog_adds)]
    for ledger in ledgers:
        rows += _rows(ledger) if reasons else [_counts(ledger.tool, ledger.macs, ledger.acs)]
    if not reasons:
        rows = [(row[0], *row[2:]) for row in rows]
    notes = (
        "Worked out from this report's counts by the rules of each tool, none of which was run; batch norm, max pools and the "
        "biases of linear layers, which some tools count, are not in a report. Tools decide call by call and by the values in "
        f"the code, this table layer by layer, with spikes as ones. Energies are {MAC_PJ} pJ for every multiply-accumulate and "
        f"{AC_PJ} pJ for every accumulation, so that counts alone make the difference.",
    )
    why = ("what it counts otherwise",) if reasons else ()
    headings = ("counted by", *why, "MACs", "accumulations", f"µJ at {MAC_PJ} and {AC_PJ} pJ")
    notes = notes if reasons else ("Why they differ is in the report's files.",)
    return ReportTable("the same run as other tools count it", headings, tuple(rows), text=1 + reasons, notes=notes)


def _rows(ledger: Ledger) -> list[Row]:
    rows = [_counts(ledger.tool, ledger.macs, ledger.acs)]
    if ledger.unknown:
        return rows + [_line(ledger.tool, f"cannot be worked out: {reason}") for reason in _together(ledger.unknown)]
    rows += [_line(ledger.tool, one.reason, _signed(one.macs), _signed(one.acs)) for one in ledger.differences]
    if ledger.repeated:
        reason = "not in the sum: layers that read the same in every step, if the code computes them in each"
        rows.append(_line(ledger.tool, reason, _signed(ledger.repeated)))
    return rows


def _together(reasons: Iterable[str]) -> list[str]:
    """`layer: reason` of many layers, one line for each reason: a deep network has a hundred of the same."""
    layers: dict[str, list[str]] = {}
    for one in reasons:
        layer, _, why = one.rpartition(": ")
        layers.setdefault(why, []).append(layer)
    lines = []
    for why, (first, *others) in layers.items():
        more = f" and {len(others)} other{'s' * (len(others) > 1)}" if others else ""
        lines.append(f"{first}{more}: {why}")
    return lines


def _counts(tool: str, macs: float | None, acs: float | None) -> Row:
    if macs is None or acs is None:
        return _line(tool, "", *(TableCell("unknown") for _ in range(3)))
    picojoules = MAC_PJ * macs + AC_PJ * acs
    return _line(tool, "", TableCell(number(macs), macs), TableCell(number(acs), acs), energy_cell(picojoules * 1e-6))


def _line(tool: str, reason: str, *cells: TableCell) -> Row:
    return (TableCell(tool), TableCell(reason), *cells, *(NOTHING,) * (3 - len(cells)))


def _signed(value: float) -> TableCell:
    return TableCell(f"{'+' if value > 0 else '−'}{number(abs(value))}", value) if value else NOTHING


def break_evens(report: Account) -> ReportTable | None:
    """Firing rates at which the network costs what its twins do, under every profile; None for one that has no twins."""
    if not has_twins(report):
        return None
    judged = verdicts(report)
    own = TableCell(percent(report.total.rate), report.total.rate)
    rows = [
        (
            TableCell(v.profile.name),
            own,
            _rate(v.break_even_rate),
            _rate(v.break_even_rate_in_all),
            _rate(v.quantised_rate_in_all),
        )
        for v in judged
    ]
    headings = (
        "profile",
        "this network's rate",
        "dense twin, arithmetic alone",
        "dense twin, all that is priced",
        f"{judged[0].bits}-bit twin, all that is priced",
    )
    notes = (
        "Below these rates the spiking network costs less than the twin. In arithmetic every layer is taken to fire alike; in "
        "all that the profile prices, memory and network on chip included where it has them, every spike of this network, "
        "those of the data too, to become rarer or more frequent alike. None: it costs more even if no neuron fires.",
    )
    return ReportTable("break-even firing rates", headings, tuple(rows), notes=notes)


def _rate(rate: float | None) -> TableCell:
    if rate is None:
        return NOTHING
    return TableCell("none", 0.0) if rate < 0 else TableCell(percent(rate), rate)
