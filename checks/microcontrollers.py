"""Whether a C bundle computes on the host, under sanitizers and on emulated microcontrollers what its network does in torch.

    python -m checks.microcontrollers runs/board/c --samples inputs.npy --inputs 500

Every spike and every logit of every sample is compared: on the host step by step, on a Cortex-M by its self-test, which gets as
many samples at a time as the board has memory for. The exit code is 1 if one differs.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph.module import torch_run
from neurodeploy.io.arrays import read_array
from neurodeploy_exporters.bundle import Sample, read_bundle
from neurodeploy_exporters.c.bundled import selftest_files
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.reading import program_in
from neurodeploy_exporters.c.running import compiled

SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
HOSTS = {"gcc": ("gcc", ("-O2",)), "clang": ("clang", ("-O2",)), "sanitizers": ("gcc", SANITIZED)}
BOARDS = ("m4", "m7")
_BATCH = 25
_FLASH = 3 << 20
"""Bytes of samples in a board's 4 MB, beside the network."""


_PASSED = (
    r"self-test: 0 of (\d+) spike trains of layers and 0 of (\d+) logits differ, 0 of \d files have damaged tables, "
    r"on (\d+) samples: passed\n"
)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--samples", type=Path, required=True, help="array of samples, .npy: [N, ...], or [T, N, ...]")
    parser.add_argument("--inputs", type=int, default=500, help="how many of them")
    parser.add_argument("--on", nargs="+", choices=(*HOSTS, *BOARDS), default=[*HOSTS, *BOARDS])
    return parser.parse_args()


def expected(program: CProgram, samples: NDArray[np.float32]) -> Iterator[Sample]:
    """What torch makes of the samples, some at a time."""
    run, answer, timed = torch_run(program.graph), program.graph.output.name, program.entrance.timed
    for start in range(0, samples.shape[int(timed)], _BATCH):
        some = samples[:, start : start + _BATCH] if timed else samples[start : start + _BATCH]
        made = run(some, [*program.graph.spiking, answer])
        yield Sample(some, {name: made[name].astype(np.uint8) for name in program.graph.spiking}, made[answer])


def on_host(program: CProgram, files: dict[str, str], parts: list[Sample], name: str) -> str:
    """How many spikes and logits differ, in words that begin with "0 of" where none does."""
    command, flags = HOSTS[name]
    wrong = compared = wrong_logits = logits = 0
    with TemporaryDirectory(prefix="neurodeploy-c-") as folder:
        run = compiled(program, files, Path(folder), command, flags, None)
        for part in parts:
            spikes, answers = run(part.inputs)
            wrong += sum(int((spikes[layer] != part.spikes[layer]).sum()) for layer in part.spikes)
            compared += sum(values.size for values in part.spikes.values())
            wrong_logits += int((answers != part.logits).sum())
            logits += answers.size
    return f"{wrong:,} of {compared:,} spikes and {wrong_logits:,} of {logits:,} logits differ"


def on_board(program: CProgram, files: dict[str, str], parts: list[Sample], name: str) -> str:
    """The same by the self-test: of all spikes of a layer by their number and a digest."""
    timed = program.entrance.timed
    whole = Sample(
        np.concatenate([part.inputs for part in parts], int(timed)),
        {layer: np.concatenate([part.spikes[layer] for part in parts], 1) for layer in program.graph.spiking},
        np.concatenate([part.logits for part in parts]),
    )
    each = program.entrance.tensor.elements * (program.steps if timed else 1) * 4
    count, trains, logits = len(whole.logits), 0, 0
    some = max(1, min(count, _FLASH // each))
    for start in range(0, count, some):
        batch = slice(start, start + some)
        part = Sample(
            whole.inputs[:, batch] if timed else whole.inputs[batch],
            {layer: values[:, batch] for layer, values in whole.spikes.items()},
            whole.logits[batch],
        )
        with TemporaryDirectory(prefix="neurodeploy-mcu-") as folder:
            for file, text in {**files, **selftest_files(program, part, most=some)}.items():
                (Path(folder) / file).write_text(text, encoding="ascii")
            done = subprocess.run(["make", "-s", "-C", folder, name], capture_output=True, text=True, check=False)
        said = re.fullmatch(_PASSED, done.stdout)
        if done.returncode or said is None or int(said[3]) != len(part.logits):
            return (done.stdout or done.stderr).strip()
        trains, logits = trains + int(said[1]), logits + int(said[2])
    return f"0 of {trains:,} spike trains of layers and 0 of {logits:,} logits differ"


def main() -> int:
    given = arguments()
    program, files = program_in(read_bundle(given.bundle))
    samples = read_array(given.samples)
    samples = samples[:, : given.inputs] if program.entrance.timed else samples[: given.inputs]
    parts = list(expected(program, np.asarray(samples, np.float32)))
    count, failed = sum(len(part.logits) for part in parts), 0
    for name in given.on:
        tool = HOSTS[name][0] if name in HOSTS else "qemu-system-arm"
        if shutil.which(tool) is None:
            print(f"{name}: not checked, {tool} not found", flush=True)
            continue
        start = time.perf_counter()
        said = (on_host if name in HOSTS else on_board)(program, files, parts, name)
        failed += not (said.startswith("0 of") and (" and 0 of" in said))
        print(f"{given.bundle.name}, {name}: {count} inputs: {said} ({time.perf_counter() - start:.0f} s)", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
