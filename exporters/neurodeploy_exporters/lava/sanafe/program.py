"""SANA-FE as a program: where its Python is, and a job that runs in it. The environment is the user's; none of it is imported.

SANA-FE is Boyle et al., "SANA-FE: simulating advanced neuromorphic architectures for fast exploration", IEEE TCAD 44(8), 2025
(doi:10.1109/TCAD.2025.3537971), under GPL-3.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from neurodeploy.io.errors import Failure, UserError, printable
from neurodeploy_exporters.lava.sanafe.job import Job, JobResult, read_result
from neurodeploy_exporters.simulation import Simulator

NAME = "sana-fe"
VARIABLE = "NEURODEPLOY_SANA_FE"
VERSION = "2.2.0"
"""With which all of this was tried; another one is taken if its Loihi is the same file in the places that matter."""
HOW = (
    f"python3 -m venv sana-fe && sana-fe/bin/pip install sanafe=={VERSION}, then --simulator-python sana-fe/bin/python "
    f"(or {VARIABLE}=sana-fe/bin/python)"
)
_RUNNER = Path(__file__).with_name("runner.py")
_UNUSABLE = 3  # exit code of the runner
_PROBE = "import importlib.metadata as m; print('sanafe', m.version('sanafe'))"
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Installed:
    """A Python that has SANA-FE.

    Attributes:
        python: its path.
        version: of SANA-FE.
    """

    python: Path
    version: str


def find_program(simulator: Simulator) -> Installed:
    """The Python that has SANA-FE.

    Raises:
        UserError: none is named, or it is no Python, or has no SANA-FE; the message says how to get it.
    """
    given, origin = simulator.python, "--simulator-python"
    if given is None and os.environ.get(VARIABLE):
        given, origin = Path(os.environ[VARIABLE]), VARIABLE
    if given is None:
        raise UserError(f"--simulator {NAME}: SANA-FE runs in an environment of its own, and none is named: {HOW}")
    python = given.expanduser().absolute()  # links are kept: a virtual environment is where its python lies
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise UserError(f"{origin}: {given}: no program found; the python of an environment that has SANA-FE expected: {HOW}")
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{origin}: {given}: does not answer as a Python does; the python of an environment expected") from None
    except OSError as error:
        raise UserError(f"{origin}: {given}: cannot be run ({error.strerror}); the python of an environment expected") from None
    found = re.fullmatch(r"sanafe (\S+)\n?", done.stdout)
    if done.returncode or found is None:
        raise UserError(f"{origin}: {given}: has no SANA-FE: {HOW}")
    return Installed(python, found.group(1))


def run_job(program: Installed, job: Job, seconds: float) -> JobResult:
    """Run a job; its files are gone afterwards.

    Raises:
        UserError: SANA-FE cannot be used as it is installed.
        Failure: it fails, or takes longer than `seconds`; the message says how far it came.
    """
    with TemporaryDirectory(prefix="neurodeploy-sana-fe-") as name:
        folder = Path(name)
        job.write(folder)
        errors = folder / "stderr"
        with errors.open("wb") as sink:
            try:
                done = subprocess.run(
                    [program.python, "-I", _RUNNER, folder],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,  # SANA-FE reports every step there
                    stderr=sink,
                    timeout=seconds,
                    env=_environment(),
                    cwd=folder,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                at = _stage(errors)
                raise Failure(
                    f"SANA-FE: stopped after {seconds:g} s{at}; give it longer (--simulator-timeout), or fewer samples "
                    "(--simulator-samples)"
                ) from None
        if done.returncode == _UNUSABLE:
            raise UserError(f"{program.python}: {_last_line(errors).removeprefix('unusable: ')}")
        if done.returncode:
            killed = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
            raise Failure(f"SANA-FE {program.version}: {killed}{_stage(errors)}: {_last_line(errors)}")
        return read_result(folder, job.runs)


def _environment() -> dict[str, str]:
    """Of the child: without what makes another Python look into this one's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"PYTHONIOENCODING": "utf-8"}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8", errors="replace").splitlines() if line.strip()]


def _stage(errors: Path) -> str:
    stages = [line.removeprefix("stage: ") for line in _lines(errors) if line.startswith("stage: ")]
    return f" while {printable(stages[-1])}" if stages else ""


def _last_line(errors: Path) -> str:
    lines = [line for line in _lines(errors) if not line.startswith("stage: ")]
    return printable(lines[-1]) if lines else "it said nothing"


def available_bytes() -> int | None:
    """Memory that can be taken without swapping; None where the system does not say."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
