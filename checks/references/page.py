"""The page on public models: what was counted of each, which known values are reached, and what could not be had."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neurodeploy_energy.count.layer import NEVER_CALLED

Record = Mapping[str, Any]
"""An `Outcome` of `checks.reference_models`, as it is in JSON."""
HEAD = Path(__file__).with_name("head.md")


def page(outcomes: Sequence[Record], missing: Mapping[str, str]) -> str:
    """Markdown.

    Args:
        outcomes: one for each model.
        missing: model → why it is not here.
    """
    parts = {
        "models": _models(outcomes),
        "checks": _checks(outcomes),
        "tools": _tools(outcomes),
        "sources": _sources(outcomes),
        "missing": _missing(missing),
    }
    text = HEAD.read_text("utf-8")
    for name, lines in parts.items():
        text = text.replace(f"<!-- {name} -->", "\n".join(lines))
    return text


def _models(outcomes: Iterable[Record]) -> list[str]:
    lines = [
        "| model | input | T | parameters | MACs | with padding, in every step | SOPs | layers on sums | not counted |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in outcomes:
        sops = f"{one['sops']:,.0f}" if one["weights"] != "random" or not one["sops"] else f"({one['sops']:,.0f})"
        size = " × ".join(map(str, one["input"]))
        counts = f"{one['parameters']:,} | {one['macs']:,.0f} | {one['padded_macs']:,.0f} | {sops} | {len(one['summed'])}"
        left = [layer for layer in one["uncounted"] if not layer.endswith(NEVER_CALLED)]  # what is never called does nothing
        lines.append(f"| {one['name']} | {size} | {one['steps']} | {counts} | {'; '.join(left) or 'nothing'} |")
    return lines


def _checks(outcomes: Iterable[Record]) -> list[str]:
    lines = ["| model | value | known | here | from | |", "|---|---|--:|--:|---|---|"]
    for one in outcomes:
        for check in one["checks"]:
            verdict = "reached" if check["reached"] else "**not reached**"
            known, found = (f"{value:,.0f}" for value in (check["known"], check["found"]))
            lines.append(f"| {one['name']} | {check['of']} | {known} | {found} | {check['where']} | {verdict} |")
    return lines


def _tools(outcomes: Sequence[Record]) -> list[str]:
    tools = [ledger["tool"] for ledger in outcomes[0]["ledgers"]] if outcomes else []
    lines = [f"| model | here | {' | '.join(tools)} |", f"|---|--:|{'--:|' * len(tools)}"]
    for one in outcomes:
        cells = ["unknown" if ledger["macs"] is None else f"{ledger['macs']:,.0f}" for ledger in one["ledgers"]]
        lines.append(f"| {one['name']} | {one['macs']:,.0f} | {' | '.join(cells)} |")
    return lines


def _sources(outcomes: Iterable[Record]) -> list[str]:
    known = {one["repository"]: one["commit"] for one in outcomes if one["repository"]}
    return [f"- [{name}](https://github.com/{name}), commit `{commit[:12]}`" for name, commit in known.items()]


def _missing(missing: Mapping[str, str]) -> list[str]:
    return [f"- {name}: {reason}" for name, reason in missing.items()]
