"""Runs bodies for Loihi in SANA-FE, and holds its spikes against the fixed-point simulator's.

    NEURODEPLOY_SANA_FE=.venv-sana-fe/bin/python python -m checks.sana_fe                     # small bodies of every kind
    … python -m checks.sana_fe --bundle runs/demo/seed-0/bundles/lava --samples 4             # and a bundle's
    … python -m checks.sana_fe --record tests/files/sanafe                                    # writes the tests' recordings

`make sana-fe` makes the environment and does the first. Exit code 1 if more than 1 % of the spikes differ in any of them.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from checks.sanafe.bodies import BODIES
from neurodeploy.app.model import load_model
from neurodeploy.app.simulation import simulation
from neurodeploy_exporters.lava.sanafe import simulate_body
from neurodeploy_exporters.lava.sanafe.program import VARIABLE
from neurodeploy_exporters.simulation import Simulator

_MOST = 0.01  # of the spikes, that may differ

_RECORDER = """#!/bin/sh
if [ "$2" = -c ]; then exec {python} "$@"; fi
{python} "$@" || exit
cat "$3/job.json" "$3/job.bin" | sha256sum | cut -d ' ' -f 1 > {folder}/job.sha256
cp "$3/result.json" "$3/result.bin" {folder}/
"""


def record(python: Path, folder: Path) -> None:
    """What SANA-FE answers to the small bodies, for the tests."""
    for name, (make, entering) in BODIES.items():
        kept = folder / name
        kept.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory() as scratch:
            script = Path(scratch, "python")
            script.write_text(
                _RECORDER.format(python=shlex.quote(str(python.absolute())), folder=shlex.quote(str(kept.absolute())))
            )
            script.chmod(0o755)
            simulate_body(make(), entering, Simulator("sana-fe", script), origin=name)
        print(f"{kept}: recorded")


def results(python: Path, bundles: list[Path], samples: int) -> Iterator[tuple[str, str, int, int]]:
    """Name, what was simulated, our spikes, and those that differ."""
    simulator = Simulator("sana-fe", python)
    for name, (make, entering) in BODIES.items():
        found = simulate_body(make(), entering, simulator, origin=name)
        energy = found.stream or found.alone
        ours = sum(layer.ours for layer in found.layers)
        told = f"{energy.total_uj:.4g} µJ, latency {found.alone.time_us:.4g} µs"
        yield name, told, ours, sum(layer.differing for layer in found.layers)
    for folder in bundles:
        model = load_model(folder)
        assert model.test_samples is not None
        simulated = simulation(model, model.test_samples, simulator, count=samples)
        yield str(folder), str(simulated), simulated.spikes[0], simulated.spikes[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", type=Path, default=os.environ.get(VARIABLE), help=f"that has SANA-FE; ${VARIABLE} if not given"
    )
    parser.add_argument("--bundle", type=Path, action="append", default=[], help="of the target lava; repeatable")
    parser.add_argument("--samples", type=int, default=2, help="of each bundle")
    parser.add_argument("--record", type=Path, help="write the recordings of the tests into this folder instead")
    options = parser.parse_args()
    if options.python is None:
        parser.error(f"--python or ${VARIABLE}: needed")
    if options.record is not None:
        record(options.python, options.record)
        return 0
    wrong = 0
    for name, told, ours, differing in results(options.python, options.bundle, options.samples):
        print(f"{name}: {told}; {differing:,} of {ours:,} spikes differ")
        wrong += not ours or differing > _MOST * ours
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
