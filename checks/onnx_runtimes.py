"""Runs every form of ONNX export in every program that reads ONNX files, and compares every spike.

    python -m checks.onnx_runtimes --environments .venv-runtimes-          # all programs, and docs/runtimes.md
    python -m checks.onnx_runtimes --environments .venv-runtimes- --program OpenVINO --only vgg

`make runtimes` makes the environments, each with one program and numpy, and does the first. Networks are exported here, on the
exact grid, so that a spike that differs is another computation; 8-bit and 16-bit forms are held against ONNX Runtime here. Exit
code 1 if a program that must run a form does not, or fires another spike.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

from checks.runtimes import page, replay
from checks.runtimes.cases import FORMS, write_cases
from checks.runtimes.networks import NETWORKS
from neurodeploy_exporters.onnx import engines

_SECONDS = 180  # without a word of a program


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        name: as its makers write it; of an npm package its name.
        environment: end of the name of its environment.
        must: forms that it must run, with equal spikes where they are exact.
        spared: of those, networks that it need not run.
    """

    name: str
    environment: str
    must: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()

    @property
    def on_node(self) -> bool:
        return self.environment == "node"


_EVERY = frozenset(FORMS)
PROGRAMS = (
    Program("ONNX Runtime", "onnxruntime", _EVERY),
    Program("onnxruntime-web", "node", _EVERY),
    Program("onnxruntime-node", "node", _EVERY),
    Program("OpenVINO", "openvino", _EVERY - {"functions"}),
    Program("ONNX ReferenceEvaluator", "reference", _EVERY - {"functions"}),
    Program("OpenCV", "opencv", frozenset({"step"}) & _EVERY, frozenset({"signal", "cells"})),
    Program("MNN", "mnn"),
    Program("tract", "tract"),
    Program("IREE", "iree"),
)


@dataclass
class Outcome:
    """What a program made of the cases.

    Attributes:
        program: it.
        version: of it.
        cases: case → what `replay.py` prints of it.
    """

    program: Program
    version: str = "unknown"
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def faults(self) -> Iterator[str]:
        """What must be otherwise."""
        for name, found in self.cases.items():
            network, _, form = name.partition("-")
            if form not in self.program.must or network in self.program.spared:
                continue
            if "wrong" not in found:
                yield f"{self.program.name}: {name}: {found.get('why', 'no answer')}"
            elif FORMS[form].exact and found["wrong"]:
                yield f"{self.program.name}: {name}: {found['wrong']:,} of {found['compared']:,} spikes differ"


def run(program: Program, environments: str, folder: Path, names: Sequence[str]) -> Outcome:
    """All cases in a program's environment; where it crashes or hangs, that case is lost, and it is started again."""
    outcome, left = Outcome(program), list(names)
    while left:
        done = _started(program, environments, folder, left, outcome)
        left = [name for name in left if name not in outcome.cases]
        if left and not done:  # not one case was begun
            raise SystemExit(f"error: {program.name}: cannot be started in {environments}{program.environment}")
    return outcome


def _started(program: Program, environments: str, folder: Path, names: Sequence[str], outcome: Outcome) -> bool:
    """Run the program until it ends, or says nothing for too long; whether it began a case."""
    command = _command(program, environments, folder, names)
    quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(command, cwd=folder, **quiet)  # where converters leave files of their own
    assert process.stdout is not None
    lines: Queue[str] = Queue()
    reading = Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reading.start()
    begun, ended = "", ""
    try:
        while line := lines.get(timeout=_SECONDS):
            told = _told(line)
            outcome.version = told.get("version", outcome.version)
            begun = told.get("begin", begun)
            if "case" in told:
                outcome.cases[told["case"]] = told
        ended = f"ends with code {process.wait()}"
    except Empty:
        process.kill()
        process.wait()
        ended = f"says nothing for {_SECONDS} s"
    if begun and begun not in outcome.cases:
        outcome.cases[begun] = {"case": begun, "opens": False, "why": f"the program {ended}"}
    return bool(begun)


def _read(stream: IO[str], lines: "Queue[str]") -> None:
    """Every line, and nothing at the end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def _told(line: str) -> dict[str, Any]:
    """What a line says, if it is not a library's own words."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _command(program: Program, environments: str, folder: Path, names: Sequence[str]) -> list[str]:
    place = Path(f"{environments}{program.environment}").absolute()
    if program.on_node:
        script = Path(replay.__file__).with_suffix(".mjs")
        return ["node", *map(str, (script, program.name, place, folder)), *names]
    python = place / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"error: {program.name}: {python} is not there; `make runtimes` makes the environments")
    return [*map(str, (python, "-I", replay.__file__, program.name, engines.__file__, folder)), *names]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", required=True, help="where they are, without the end of their names")
    parser.add_argument("--program", action="append", choices=[one.name for one in PROGRAMS], help="of these alone")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="cases in whose names this occurs")
    parser.add_argument("--output", type=Path, default=Path("docs/runtimes.md"), help="the page to write, if all are run")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = [one for one in PROGRAMS if options.program is None or one.name in options.program]
    outcomes = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = [name for name in write_cases(folder, NETWORKS) if not options.only or any(p in name for p in options.only)]
        if not names:
            print("error: no case of that name", file=sys.stderr)
            return 2
        for program in chosen:
            outcomes.append(run(program, options.environments, folder, names))
            print(page.line(outcomes[-1]), flush=True)
    if options.program is None and not options.only:
        options.output.write_text(page.page(outcomes, NETWORKS), encoding="utf-8")
        print(f"{options.output} written")
    faults = [fault for outcome in outcomes for fault in outcome.faults()]
    for fault in faults:
        print(f"wrong: {fault}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
