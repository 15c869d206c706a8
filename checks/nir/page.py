"""`docs/nir.md`: a head written by hand (`head.md`), and the tables that were measured."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from checks.nir.cases import Case
from checks.nir.limits import NO_FORM, READING_OURS, READING_THEIRS, TOLD
from checks.nir.measuring import Found
from neurodeploy_exporters.nir import NoNirForm
from neurodeploy_exporters.nir.files import content_of
from neurodeploy_exporters.nir.readers import READERS, Finding

_HEAD = Path(__file__).with_name("head.md")
_NAMES = {
    "spikingjelly": "SpikingJelly",
    "snntorch": "snnTorch",
    "norse": "Norse",
    "sinabs": "sinabs",
    "rockpool": "Rockpool",
    "snn-mlir": "snn-mlir",
    "spyx": "spyx",
    "snn2mcu": "snn2mcu",
    "nir2fpga": "NIR2FPGA",
}
INSTALLED = ("spikingjelly", "snntorch", "norse", "sinabs", "rockpool", "snn-mlir", "spyx")
"""Readers that can be installed; their packages bear the same names."""
BY_NIRTORCH = ("spikingjelly", "snntorch", "norse", "sinabs", "rockpool")
"""Those that leave it to nirtorch to build a network of what they make of each node."""
Ours = Mapping[tuple[str, str], Mapping[str, Found]]
"""Reader and dialect → our network → what the reader made of it."""


def page(
    environments: Mapping[str, Mapping[str, str]],
    cases: Mapping[str, Case],
    ours: Ours,
    theirs: Mapping[str, Mapping[str, Found]],
) -> str:
    """Markdown.

    Args:
        environments: reader → package → version.
        cases: our networks.
        ours: what readers made of them.
        theirs: framework → its network → what we made of it.
    """
    lines = [
        _HEAD.read_text(encoding="utf-8").rstrip(),
        "",
        *_rules(),
        "",
        "## Measured: our files in the tools that read NIR",
        "",
    ]
    lines += [
        f"- {_NAMES[name]}: " + ", ".join(f"{package} {version}" for package, version in found.items())
        for name, found in environments.items()
    ]
    some = next(iter(cases.values())).inputs
    lines += [
        "",
        "Each network is written in the tool's dialect, read by its own reader, and given the same spikes "
        f"({some.shape[0]} steps, {some.shape[1]} samples). Compared is the output of its last layer at every step: equal, or "
        "the share of values that differ. All of them open files with the `nir` package, whose checks of types they pass; "
        f"{', '.join(_NAMES[name] for name in BY_NIRTORCH)} build their networks with nirtorch. "
        "snn-mlir's code needs its own LLVM: its check and generators run, for floats and "
        "int8, and the constants that it parsed are stepped as its dialect is documented.",
        "",
        *_measured(cases, {reader: found for (reader, dialect), found in ours.items() if dialect == READERS[reader].dialect}),
        "",
        "The same networks in the dialect `nir`, for the tools that have another:",
        "",
        *_measured(cases, {r: found for (r, dialect), found in ours.items() if dialect == "nir" != READERS[r].dialect}),
        "",
        "Why it is not equal, by the rules above (in the tool's dialect):",
        "",
        _row("tool", "limit", "networks"),
        _row("---", "---", "---"),
    ]
    for reader, dialect in ours:
        if dialect == READERS[reader].dialect:
            lines += _limits(reader, dialect, cases, ours[reader, dialect])
    lines += [
        "",
        "## Measured: the frameworks' files here",
        "",
        "Each network is built and run in the framework, written by its own writer, read by `read`, and run by the reference "
        "interpreter on the same spikes. The files are kept in `tests/exporters/nir/files`, and read by the test suite.",
        "",
        _row("framework", "network", "recognised as", "to be said", "result", "limit"),
        _row(*["---"] * 6),
    ]
    for framework, networks in theirs.items():
        for name, result in networks.items():
            said, why = TOLD.get(framework, {}).get(name, ("", ""))
            told = f"`--written-by {said}`: {why}" if said else ""
            limit = "" if result.equal else _told(READING_THEIRS[framework].get(name), result)
            recognised = result.detail if result.loaded else ""
            lines.append(_row(_NAMES[framework], name, recognised, told, str(result), limit))
    return "\n".join(lines) + "\n"


def _rules() -> Iterator[str]:
    yield "## What each tool makes of a file"
    yield ""
    yield (
        "`neurodeploy nir FILE` says it of any file, by rules that follow each tool's own code; those of the tools that can be "
        "installed are compared below with what they do."
    )
    yield ""
    yield _row("tool", "read", "dialect", "always")
    yield _row(*["---"] * 4)
    for name, reader in READERS.items():
        yield _row(_NAMES[name], reader.what, f"`{reader.dialect}`", reader.says)


def _measured(cases: Mapping[str, Case], found: Mapping[str, Mapping[str, Found]]) -> Iterator[str]:
    yield _row("network", *(_NAMES[reader] for reader in found))
    yield _row("---", *("---" for _ in found))
    for name, case in cases.items():
        yield _row(case.what, *(str(results[name]) for results in found.values()))


def reasons(reader: str, dialect: str, name: str, case: Case) -> tuple[Finding, ...]:
    """What the rules and `limits` say of a network in a dialect."""
    try:
        found = READERS[reader].findings(content_of(case.graph, dialect=dialect))
    except NoNirForm as error:
        found = (Finding("refused", "", str(error)),)
    more = [NO_FORM.get(name), READING_OURS.get(reader, {}).get(name)]
    return (*found, *(Finding("wrong", "", text) for text in more if text is not None))


def _limits(reader: str, dialect: str, cases: Mapping[str, Case], found: Mapping[str, Found]) -> Iterator[str]:
    texts: dict[str, list[str]] = {}
    for name, case in cases.items():
        if not found[name].equal:
            for text in dict.fromkeys(one.text for one in reasons(reader, dialect, name, case)):
                texts.setdefault(text, []).append(name)
    for text, names in texts.items():
        yield _row(_NAMES[reader], text.replace("|", "/"), ", ".join(names))


def unexplained(cases: Mapping[str, Case], ours: Ours, theirs: Mapping[str, Mapping[str, Found]]) -> list[str]:
    """Failures without an explanation, and rules and explanations without a failure."""
    faults = []
    for (reader, dialect), results in ours.items():
        for name, result in results.items():
            found = reasons(reader, dialect, name, cases[name])
            certain = [one for one in found if one.severity != "differs"]
            if not result.equal and not found:
                faults.append(f"{reader}, {name} in {dialect}: is not explained: {result}, {result.detail}")
            if result.equal and certain:
                faults.append(f"{reader}, {name} in {dialect}: equal, and said: {certain[0]}")
            if result.loaded and any(one.severity == "refused" for one in found):
                refused = next(one for one in found if one.severity == "refused")
                faults.append(f"{reader}, {name} in {dialect}: is read, and said: {refused}")
    for framework, networks in theirs.items():
        for name, result in networks.items():
            if result.equal is (name in READING_THEIRS[framework]):
                state = "is explained, but equal" if result.equal else f"is not explained: {result}, {result.detail}"
                faults.append(f"{framework}, {name}: {state}")
        gone = READING_THEIRS[framework].keys() - networks
        faults += [f"{framework}, {name}: explained, but there is no such network" for name in gone]
    return faults


def _told(explanation: str | None, found: Found) -> str:
    error = f" (`{found.detail}`)" if not found.loaded else ""
    return (explanation or "not explained") + error.replace("|", "/")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
