"""Runs NeuroBench, syops, SpikingJelly's counters and fvcore on small networks, and compares them with recorded runs.

    python -m checks.other_counters                  # with the environments that `make other-counters` makes
    python -m checks.other_counters --record         # writes tests/files/energy/other_tools.json anew

The ledgers of `neurodeploy_energy.price.reconciliation` are tested against the recording. Exit code 1 if a tool counts
otherwise now, which its next version may.
"""

import argparse
import json
import os
import subprocess
import sys
from math import isclose
from pathlib import Path
from typing import Any

RECORDING = Path("tests/files/energy/other_tools.json")
ENVIRONMENTS = {"new": ("neurobench", "spikingjelly", "fvcore"), "old": ("syops",)}
"""Environment → the tools in it: syops reads versions of SpikingJelly that have no counters of their own yet."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", default=".venv-counters-", help="where they are, without `new` and `old` at the end")
    parser.add_argument("--record", action="store_true", help="write the recording anew, and compare nothing")
    return parser.parse_args()


def main() -> int:
    options, counted = arguments(), {}
    for environment, tools in ENVIRONMENTS.items():
        counted |= _counted(Path(f"{options.environments}{environment}").absolute() / "bin" / "python", tools)
    if options.record:
        RECORDING.write_text(json.dumps(counted, indent=1) + "\n", encoding="utf-8")
        print(f"{RECORDING}: {len(counted)} tools recorded")
        return 0
    before = json.loads(RECORDING.read_text("utf-8"))
    faults = list(_differences("", before, counted))
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(counted)} tools, {len(faults)} counts differ from {RECORDING}")
    return 1 if faults else 0


def _counted(python: Path, tools: tuple[str, ...]) -> dict[str, Any]:
    command = [str(python), "-W", "ignore", "-m", "checks.counters.tools", *tools]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(f"error: {', '.join(tools)}: {done.stderr.strip().splitlines()[-1]}")
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts


def _differences(path: str, before: Any, now: Any) -> Any:
    """Where two recordings differ, one line for each value; syops and NeuroBench add up in single precision."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(f"{path}/{key}", before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for at, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{path}/{at}", one, other)
    elif not (isinstance(before, float) and isinstance(now, float) and isclose(before, now, rel_tol=1e-6)) and before != now:
        yield f"{path.lstrip('/')}: {before} recorded, {now} now"


if __name__ == "__main__":
    sys.exit(main())
