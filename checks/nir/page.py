"""`docs/nir.md`: a head written by hand (`head.md`), and the tables that were measured."""

from collections.abc import Mapping
from pathlib import Path

from checks.nir.cases import Case
from checks.nir.limits import READING_OURS, READING_THEIRS, TOLD
from checks.nir.measuring import Found

_HEAD = Path(__file__).with_name("head.md")
_NAMES = {"spikingjelly": "SpikingJelly", "snntorch": "snnTorch", "norse": "Norse", "sinabs": "sinabs"}


def page(
    environments: Mapping[str, Mapping[str, str]],
    cases: Mapping[str, Case],
    ours: Mapping[str, Mapping[str, Found]],
    theirs: Mapping[str, Mapping[str, Found]],
) -> str:
    """Markdown.

    Args:
        environments: framework → package → version.
        cases: our networks.
        ours: framework → our network → what it made of it.
        theirs: framework → its network → what we made of it.
    """
    lines = [_HEAD.read_text(encoding="utf-8").rstrip(), "", "## Measured: our files in the frameworks", ""]
    lines += [f"- {_NAMES[name]}: " + ", ".join(f"{k} {v}" for k, v in found.items()) for name, found in environments.items()]
    some = next(iter(cases.values())).inputs
    lines += [
        "",
        "Each network is written by `write`, read by the framework's own reader, and given the same spikes "
        f"({some.shape[0]} steps, {some.shape[1]} samples). Compared is the output of its last layer at every step: equal, or "
        "the share of values that differ.",
        "",
        _row("network", *(_NAMES[name] for name in ours)),
        _row("---", *("---" for _ in ours)),
    ]
    lines += [_row(case.what, *(str(found[name]) for found in ours.values())) for name, case in cases.items()]
    lines += [
        "",
        "Whose limit it is, where it is not equal:",
        "",
        _row("network", "framework", "limit"),
        _row("---", "---", "---"),
    ]
    for name, case in cases.items():
        for framework, found in ours.items():
            if not found[name].equal:
                lines.append(_row(case.what, _NAMES[framework], _told(READING_OURS[framework].get(name), found[name])))
    lines += [
        "",
        "## Measured: the frameworks' files here",
        "",
        "Each network is built and run in the framework, written by its own writer, read by `read`, and run by the reference "
        "interpreter on the same spikes. The files are kept in `tests/exporters/nir/files`, and read by the test suite.",
        "",
        _row("framework", "network", "recognised as", "to be told", "result", "limit"),
        _row(*["---"] * 6),
    ]
    for framework, networks in theirs.items():
        for name, result in networks.items():
            options, why = TOLD.get(framework, {}).get(name, ({}, ""))
            told = ", ".join(f'`{key}="{value}"`' for key, value in options.items()) + (f": {why}" if why else "")
            limit = "" if result.equal else _told(READING_THEIRS[framework].get(name), result)
            recognised = result.detail if result.loaded else ""
            lines.append(_row(_NAMES[framework], name, recognised, told, str(result), limit))
    return "\n".join(lines) + "\n"


def unexplained(ours: Mapping[str, Mapping[str, Found]], theirs: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """Failures without an explanation, and explanations without a failure."""
    found = []
    for results, told in ((ours, READING_OURS), (theirs, READING_THEIRS)):
        for framework, networks in results.items():
            for name, result in networks.items():
                if result.equal is (name in told[framework]):
                    state = "is explained, but equal" if result.equal else f"is not explained: {result}, {result.detail}"
                    found.append(f"{framework}, {name}: {state}")
            found += [
                f"{framework}, {name}: explained, but there is no such network" for name in told[framework].keys() - networks
            ]
    return found


def _told(explanation: str | None, found: Found) -> str:
    error = f" (`{found.detail}`)" if not found.loaded else ""
    return (explanation or "not explained") + error.replace("|", "/")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
