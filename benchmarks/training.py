"""Training and inference of the same convolutional SNN here and in SpikingJelly, snnTorch, Norse and sinabs.

First it shows that the spikes agree, one by one; then it measures time, interleaved, and peak memory. Run `make benchmarks`,
or for a part of it

    python -m benchmarks.training --steps 4 --rounds 3 --subjects neurodeploy spikingjelly
"""

import argparse
import os
import sys
from datetime import date
from pathlib import Path

import torch

from benchmarks import memory, report, timing
from benchmarks.agreement import compare_networks, compare_neurons
from benchmarks.machine import cpu_model, machine, slug
from benchmarks.results import Memory, Mode, Result, Timing
from benchmarks.setting import FirstLayer, Setting
from benchmarks.subjects import OURS, SUBJECTS, installed_version
from neurodeploy.dynamics.kernels.memory import Allocator, tune

MODES: tuple[Mode, ...] = Mode.__args__
FIRST_LAYERS: tuple[FirstLayer, ...] = FirstLayer.__args__


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS), help="default: all installed")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 16, 64], help="T")
    parser.add_argument("--batch", type=int, default=64, help="samples")
    parser.add_argument("--first-layer", nargs="+", choices=FIRST_LAYERS, default=list(FIRST_LAYERS))
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--allocator", choices=Allocator.__args__, default="default", help="see benchmarks/allocator.py")
    parser.add_argument("--no-time", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--output", type=Path, help="JSON; default benchmarks/results/<date>-<machine>.json")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    load = os.getloadavg()[0]
    if given.allocator == "tuned":
        tune()
    subjects = {key: SUBJECTS[key] for key in given.subjects if installed_version(SUBJECTS[key])}
    for key in set(given.subjects) - set(subjects):
        _say(f"{key}: not installed, left out (see benchmarks/requirements.txt)")
    if given.device == "cuda":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    settings = [Setting(steps, given.batch, first_layer=first) for first in given.first_layer for steps in given.steps]

    networks, neurons = [], []
    torch.set_num_threads(max(given.threads))
    for key, subject in subjects.items():
        if key != next(iter(OURS)):
            _say(f"spikes: {subject.name}")
            networks += [compare_networks(subject, setting, given.device) for setting in settings]
            neurons += [compare_neurons(subject, reset) for reset in ("hard", "soft")]

    timings: list[Timing] = []
    peaks: list[Memory] = []
    for setting in settings:
        for mode in given.mode:
            for threads in [] if given.no_time else given.threads:
                _say(f"time: T = {setting.steps}, {mode}, first layer {setting.first_layer}, threads {threads}")
                timings += timing.measure(subjects, setting, mode, threads=threads, rounds=given.rounds, device=given.device)
            for key in [] if given.no_memory else subjects:
                _say(f"memory: T = {setting.steps}, {mode}, first layer {setting.first_layer}, {key}")
                peaks.append(memory.measure(key, setting, mode, given.device, given.allocator))

    first = settings[0]
    result = Result(
        day=date.today(),
        machine=machine(given.device, given.allocator, load),
        versions={subject.distribution: installed_version(subject) or "" for subject in subjects.values()},
        batch=first.batch,
        input=(first.channels[0], first.size, first.size),
        channels=first.channels,
        strides=first.strides,
        notes={subject.name: subject.notes for subject in subjects.values() if subject.notes},
        networks=networks,
        neurons=neurons,
        timings=timings,
        memory=peaks,
    )
    name = slug(torch.cuda.get_device_name() if given.device == "cuda" else f"{cpu_model()}-{os.cpu_count()}-cores")
    name += "-tuned-allocator" if given.allocator == "tuned" else ""
    output = given.output or Path(__file__).parent / "results" / f"{result.day}-{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"\n{report.text(result)}\nresults in {output}\n")
    if any(x.different for x in networks):
        sys.exit("error: spikes of a network differ; the timings do not compare the same computation")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
