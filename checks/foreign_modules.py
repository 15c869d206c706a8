"""Brings networks that other frameworks built into this toolkit, and compares every spike with the framework's own.

    python -m checks.foreign_modules --framework snntorch            # here, with what is installed
    python -m checks.foreign_modules --only spikingjelly-plif        # one network; any part of names
    python -m checks.foreign_modules --environments .venv-foreign-   # each in an environment of its own, and docs/foreign.md

`make foreign` makes the environments, and does the last. Each network is built with seeded weights, run in its framework with
every spiking layer recorded, deployed, run as a graph, exported to ONNX and verified. Exit code 1 if a network arrives with
other spikes, or fails in another way than by a message that says why it cannot.
"""

import argparse
import json
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from checks.foreign.arriving import Arrival, arrival
from checks.foreign.networks import Network, Suite
from checks.foreign.page import page

FRAMEWORKS = ("spikingjelly", "snntorch", "norse", "sinabs", "slayer", "loops")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS, help="of these alone")
    parser.add_argument("--only", action="append", metavar="NAME", help="networks in whose names this occurs")
    parser.add_argument("--list", action="store_true", help="name the networks, and run none")
    parser.add_argument("--graph-only", action="store_true", help="without the export to ONNX, which takes longest")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON, instead of a table")
    parser.add_argument(
        "--record", type=Path, metavar="FOLDER", help="write the reduced copies that tests read, and compare nothing"
    )
    parser.add_argument("--environments", help="where the frameworks' are, without the framework's name at the end")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/foreign.md"), help="with --environments: the page to write, if all are run"
    )
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = tuple(options.framework or FRAMEWORKS)
    if options.environments is not None:
        return _everywhere(options, chosen)
    suites = [suite for framework in _needed(chosen, options.only) if (suite := _suite(framework)) is not None]
    networks = [network for suite in suites for network in suite.networks.values() if _asked(network.name, options.only)]
    if not networks:
        print("error: no network of that name; --list names them", file=sys.stderr)
        return 2
    if options.list:
        print(*(f"{network.name}: {network.what}; {network.call.what}" for network in networks), sep="\n")
        return 0
    if options.record is not None:
        return _recorded(networks, options.record)
    return _compared(networks, as_json=options.json, onnx=not options.graph_only)


def _needed(frameworks: tuple[str, ...], parts: list[str] | None) -> list[str]:
    """Those of the frameworks that names can be of; to import all of them takes longer than to run a network."""
    if parts is None or not all(part.startswith(FRAMEWORKS) for part in parts):
        return list(frameworks)
    return [framework for framework in frameworks if any(part.startswith(framework) for part in parts)]


def _suite(framework: str) -> Suite | None:
    """A framework's networks; None, with a word on standard error, where it is not installed."""
    try:
        return import_module(f"checks.foreign.models.{framework}").SUITE
    except ModuleNotFoundError as error:
        print(f"{framework}: left out, as {error.name} is not installed", file=sys.stderr)
        return None


def _asked(name: str, parts: list[str] | None) -> bool:
    return parts is None or any(part in name for part in parts)


def _compared(networks: list[Network], *, as_json: bool, onnx: bool) -> int:
    outcomes = []
    for network in networks:
        outcomes.append(arrival(network, onnx=onnx))
        if not as_json:
            print(_line(outcomes[-1]), flush=True)
    if as_json:
        print(json.dumps(_document(networks, outcomes)))
    else:
        _summary(outcomes)
    return _faulty(outcomes)


def _document(networks: list[Network], outcomes: list[Arrival]) -> dict[str, Any]:
    """What the page is written from."""
    frameworks = {network.framework.name: network.framework for network in networks}
    return {
        "frameworks": {
            name: {
                "title": one.title,
                "versions": {package: version(package) for package in dict.fromkeys((one.package, "torch"))},
            }
            for name, one in frameworks.items()
        },
        "networks": [
            {"what": network.what, "called": network.call.what, **outcome.as_document()}
            for network, outcome in zip(networks, outcomes, strict=True)
        ],
    }


def _line(outcome: Arrival) -> str:
    rates = ", ".join(f"{rate:.0%}" for rate in outcome.rates.values())
    head = f"{outcome.network}: {outcome}; layers fire {rates}; {outcome.seconds:.1f} s"
    notes = [outcome.detail, f"onnx: {outcome.onnx}" if outcome.onnx else ""]
    return "\n    ".join([head, *filter(None, notes)])


def _summary(outcomes: list[Arrival]) -> None:
    counts = {
        verdict: sum(one.verdict == verdict for one in outcomes) for verdict in ("arrived", "differs", "refused", "failed")
    }
    verdicts = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{len(outcomes)} networks: {verdicts}; {sum(one.onnx == 'verified' for one in outcomes)} verified as ONNX")


def _faulty(outcomes: list[Arrival]) -> int:
    return int(any(one.verdict in ("differs", "failed") or one.onnx.startswith(("failed", "not verified")) for one in outcomes))


def _recorded(networks: list[Network], folder: Path) -> int:
    from checks.foreign.reduced import write

    for network in networks:
        if network.small is not None:
            path = write(network, folder)
            print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


def _everywhere(options: argparse.Namespace, frameworks: tuple[str, ...]) -> int:
    """Call this program in each framework's environment, and write the page of all answers."""
    documents = []
    for framework in frameworks:
        python = _python(options.environments, framework)
        if not Path(python).exists():
            raise SystemExit(f"error: {framework}: {python} found nowhere; `make foreign` makes the environments")
        asked = [argument for part in options.only or [] for argument in ("--only", part)]
        command = [python, "-W", "ignore", "-m", "checks.foreign_modules", "--framework", framework, *asked]
        if options.record is not None:
            subprocess.run([*command, "--record", options.record], check=True, timeout=1800)
            continue
        done = subprocess.run(
            [*command, *(["--graph-only"] if options.graph_only else []), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=1800,
        )
        try:  # a program that dies of an error ends with 1, as one does that found faults
            documents.append(json.loads(done.stdout))
        except ValueError:
            said = f"it ended with {done.returncode} and no answer"
            raise SystemExit(f"error: {framework}: the networks could not be run in {python}: {said}") from None
    if options.record is not None:
        return 0
    outcomes = [_outcome(row) for document in documents for row in document["networks"]]
    if options.framework is None and options.only is None and not options.graph_only:
        options.output.write_text(page(documents), encoding="utf-8")
        print(f"{options.output}: ", end="")
    else:  # a page of a part would be taken for that of the whole
        print(*(_line(outcome) for outcome in outcomes), sep="\n")
    _summary(outcomes)
    return _faulty(outcomes)


def _python(environments: str, framework: str) -> str:
    """Of a framework's environment; networks in plain torch need none of their own."""
    return sys.executable if framework == "loops" else str(Path(f"{environments}{framework}").absolute() / "bin" / "python")


def _outcome(row: dict[str, Any]) -> Arrival:
    return Arrival(**{name: row[name] for name in Arrival.__dataclass_fields__})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
