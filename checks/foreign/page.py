"""`docs/foreign.md`: a head written by hand (`head.md`), and the tables that were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HEAD = Path(__file__).with_name("head.md")


def page(documents: Sequence[Mapping[str, Any]]) -> str:
    """Markdown of what `checks.foreign_modules --json` said of each framework."""
    rows = [row for document in documents for row in document["networks"]]
    arrived = sum(row["verdict"] == "arrived" for row in rows)
    verified = sum(row["onnx"] == "verified" for row in rows)
    lines = [
        _HEAD.read_text(encoding="utf-8").rstrip(),
        "",
        "## Measured",
        "",
        f"{len(rows)} networks: {arrived} arrive with every spike equal, {verified} of them are verified as ONNX.",
    ]
    for document in documents:
        for name, framework in document["frameworks"].items():
            versions = ", ".join(f"{package} {version}" for package, version in framework["versions"].items())
            lines += ["", f"### {framework['title']}", "", f"With {versions}.", ""]
            lines += [_row("network", "called", "fires", "as a graph", "as ONNX"), _row(*["---"] * 5)]
            lines += [_network(row) for row in document["networks"] if row["framework"] == name]
    return "\n".join(lines) + "\n"


def _network(row: Mapping[str, Any]) -> str:
    rates = [100 * rate for rate in row["rates"].values()]
    least, most = f"{min(rates):.0f}", f"{max(rates):.0f}"
    layers = "1 layer" if len(rates) == 1 else f"{len(rates)} layers"
    fires = f"{layers}, {least} %" if least == most else f"{layers}, {least} to {most} %"
    return _row(row["what"], row["called"], fires, _graph(row), _plain(row["onnx"]) or "–")


def _graph(row: Mapping[str, Any]) -> str:
    if row["verdict"] == "arrived":
        return f"arrived: {row['values']:,} of {row['values']:,} spikes equal"
    if row["verdict"] == "differs":
        return f"differs: {row['different']:,} of {row['values']:,} spikes; {_plain(row['detail'])}"
    return f"{row['verdict']}: {_plain(row['detail'])}"


def _plain(text: str) -> str:
    """One cell of a table, in which nothing is taken for markup."""
    for sign in "\\`*_<>[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split()).replace("|", "/")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
