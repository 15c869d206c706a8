"""Seconds per pass, interleaved: each round runs every subject once, so that a busy machine slows all of them alike."""

from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter, process_time, sleep

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.agreement import build
from benchmarks.results import Mode, Timing
from benchmarks.setting import Setting, sample
from benchmarks.subject import Network, Subject

Step = Callable[[], None]


def step(subject: Subject, network: Network, images: Tensor, labels: Tensor, mode: Mode) -> Step:
    """One pass: inference without gradients, or a training step without the optimiser, which is the same for all."""

    def forward() -> None:
        with subject.running():
            subject.infer(network, images)

    def train() -> None:
        network.zero_grad(set_to_none=True)
        with subject.running():
            cross_entropy(network(images), labels).backward()

    return forward if mode == "forward" else train


def interleaved(
    steps: Mapping[str, Step],
    rounds: int,
    finish: Callable[[], None] = lambda: None,
    *,
    rest: float = 0.0,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every round of each step, after one untimed round; the order turns by one from round to round.

    Args:
        finish: waits for the device.
        rest: seconds of quiet, then an untimed pass, before every timed one. Threads of the subject before look out for work
            for a while, and would take the cores from those of the next.
        clock: what counts as time; `process_time` leaves out what others take of a core.
    """
    for once in steps.values():
        once()
    finish()
    names, seconds = list(steps), {name: [] for name in steps}
    for turn in range(rounds):
        for i in range(len(names)):
            name = names[(i + turn) % len(names)]
            if rest:
                sleep(rest)
                steps[name]()
                finish()
            start = clock()
            steps[name]()
            finish()
            seconds[name].append(clock() - start)
    return seconds


def _metered(once: Step, seconds: list[float]) -> Step:
    """The same, with the processor time of every call noted: other jobs on the machine lengthen it less."""

    def call() -> None:
        start = process_time()
        once()
        seconds.append(process_time() - start)

    return call


def measure(
    subjects: Mapping[str, Subject], setting: Setting, mode: Mode, *, threads: int, rounds: int, device: str = "cpu"
) -> list[Timing]:
    """One timing for each subject."""
    torch.set_num_threads(threads)
    torch.compiler.reset()  # a compiled kernel would fall back to the loop after eight variants, of all settings together
    images, labels = (x.to(device) for x in sample(setting))
    steps = {key: step(subject, build(subject, setting, device), images, labels, mode) for key, subject in subjects.items()}
    processor: dict[str, list[float]] = {key: [] for key in steps}
    metered = {key: _metered(once, processor[key]) for key, once in steps.items()}
    seconds = interleaved(metered, rounds, torch.cuda.synchronize if device == "cuda" else lambda: None)
    return [
        Timing(
            subject=subjects[key].name,
            mode=mode,
            steps=setting.steps,
            threads=threads,
            first_layer=setting.first_layer,
            median_s=median(values),
            fastest_s=min(values),
            cpu_s=median(processor[key][-rounds:]) if device == "cpu" else None,
            rounds=rounds,
        )
        for key, values in seconds.items()
    ]
