"""`docs/runtimes.md`: a head written by hand (`head.md`), and the table that was measured."""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from checks.runtimes.cases import FORMS
from checks.runtimes.networks import BATCH, STEPS, Exported

_HEAD = Path(__file__).with_name("head.md")
_LONGEST, _ALIKE = 180, 30


class _Program(Protocol):
    @property
    def name(self) -> str: ...


class Told(Protocol):
    """What the page needs of an outcome."""

    version: str
    cases: dict[str, dict[str, Any]]

    @property
    def program(self) -> _Program: ...


def line(outcome: Told) -> str:
    """One line of a terminal."""
    equal = sum(found.get("wrong") == 0 for found in outcome.cases.values())
    other = sum(found.get("wrong", 0) > 0 for found in outcome.cases.values())
    not_run = len(outcome.cases) - equal - other
    return f"{outcome.program.name} {outcome.version}: {equal} cases equal, {other} with other spikes, {not_run} not run"


def page(outcomes: Sequence[Told], networks: Sequence[Exported]) -> str:
    """Markdown."""
    reasons: dict[str, int] = {}
    compared = {network.name: _compared(outcomes, network.name) for network in networks}
    versions = ", ".join(f"{one.program.name} {one.version}" for one in outcomes)
    lines = [
        _HEAD.read_text(encoding="utf-8").rstrip(),
        "",
        "## Measured",
        "",
        f"On {datetime.now(UTC).date().isoformat()}, {platform.machine()}, with {versions}. {STEPS} steps, {BATCH} samples:",
        "",
        *(f"- {network.name}: {network.what}; {compared[network.name]:,} spikes compared" for network in networks),
        "",
        _row("form", *(one.program.name for one in outcomes)),
        _row(*["---"] * (len(outcomes) + 1)),
    ]
    for name, form in FORMS.items():
        cells = [_cell(one, name, [network.name for network in networks], reasons) for one in outcomes]
        lines.append(_row(form.what, *cells))
    lines += ["", "Why not:", ""] if reasons else []
    lines += [f"{number}. {_plain(reason)}" for reason, number in reasons.items()]
    return "\n".join(lines) + "\n"


def _compared(outcomes: Sequence[Told], network: str) -> int:
    found = (case for one in outcomes for name, case in one.cases.items() if name.partition("-")[0] == network)
    return max((case.get("compared", 0) for case in found), default=0)


def _cell(outcome: Told, form: str, networks: Sequence[str], reasons: dict[str, int]) -> str:
    """What a program made of one form of all networks: those of one outcome together, with the reason of the first of them."""
    found: dict[str, list[str]] = {}
    numbers: dict[str, int] = {}
    for network in networks:
        case = outcome.cases.get(f"{network}-{form}")
        if case is None:
            continue
        verdict = _verdict(case)
        found.setdefault(verdict, []).append(network)
        if "wrong" not in case and verdict not in numbers:
            numbers[verdict] = _number(outcome.program.name, case["why"], reasons)
    said = {verdict: verdict if verdict not in numbers else f"{verdict} ({numbers[verdict]})" for verdict in found}
    if len(found) == 1:
        return next(iter(said.values()))
    return "; ".join(f"{', '.join(names)}: {said[verdict]}" for verdict, names in found.items())


def _verdict(case: dict[str, Any]) -> str:
    if "wrong" in case:
        return "equal" if not case["wrong"] else f"{case['wrong']:,} differ"
    return "not run" if case["opens"] else "not opened"


def _number(program: str, reason: str, reasons: dict[str, int]) -> int:
    """That of a reason; of those of a program that begin alike, the first stands for all."""
    alike = f"{program}: {reason[:_ALIKE]}"
    for known, number in reasons.items():
        if known.startswith(alike):
            return number
    text = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …"
    return reasons.setdefault(f"{program}: {text}", len(reasons) + 1)


def _plain(text: str) -> str:
    """In which nothing is taken for markup."""
    for sign in "\\`*_<>[]{}#":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split()).replace("|", "/")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
