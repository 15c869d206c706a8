"""Counting of operations: does it agree with NeuroBench, what does it cost, and how much memory does it take?

It runs the same network in SpikingJelly, snnTorch, Norse, sinabs, plain torch and ours through NeuroBench and through
`neurodeploy_energy.profile`, and explains every difference; then it times a plain pass, a counting pass and NeuroBench's, side
by side; then it profiles 100 M parameters on 10,000 samples in a process of its own. Run `make benchmarks-energy`, or a part:

    python -m benchmarks.energy --parts agreement overhead --steps 4
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.agreement import build
from benchmarks.machine import cpu_model, machine, slug
from benchmarks.memory import peak_of
from benchmarks.peers import neurobench
from benchmarks.peers.plain_torch import PlainTorch
from benchmarks.setting import Setting, sample
from benchmarks.spikformer import Spikformer
from benchmarks.subject import Subject
from benchmarks.subjects import SUBJECTS, installed_version
from benchmarks.timing import interleaved
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.networks import ResNetSpec, SpikingActivations, VggSpec
from neurodeploy_energy import LayerRow, account, register_neuron

PARTS = ("agreement", "overhead", "memory")
PLAIN = "plain pass"
COUNTING = "counting pass"
NEUROBENCH = "NeuroBench"


@dataclass(frozen=True)
class Difference:
    """One layer of one network, over a batch: effective operations here and in NeuroBench, and why they differ, if they do."""

    subject: str
    layer: str
    ours_macs: int
    ours_acs: int
    neurobench_macs: int
    neurobench_acs: int
    reason: str


@dataclass(frozen=True)
class Cost:
    """Median seconds of one pass over a batch, by what was run, and the ratios that matter.

    On one thread seconds are those of the processor: others that share a machine take time and not work.

    Attributes:
        overhead: counting pass over plain pass.
        faster: NeuroBench's pass over the counting pass.
        faster_count: what NeuroBench adds to a plain pass over what counting adds.
    """

    network: str
    steps: int
    batch: int
    rounds: int
    seconds: dict[str, float]
    overhead: float
    faster: float | None
    faster_count: float | None


@dataclass(frozen=True)
class Peak:
    """Bytes that a pass over the whole data set raises the peak by, in a process of its own."""

    parameters: int
    samples: int
    batch: int
    plain_bytes: int
    counting_bytes: int


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 16], help="T")
    parser.add_argument("--batch", type=int, default=32, help="samples of a timed pass")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=10_000, help="of the part memory")
    parser.add_argument("--output", type=Path, help="JSON; default benchmarks/results/energy/<date>-<machine>.json")
    parser.add_argument("--peak-of", choices=(PLAIN, COUNTING), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    if given.peak_of:
        sys.stdout.write(f"{_peak_of_pass(given.peak_of, given.samples)}\n")
        return
    load = os.getloadavg()[0]
    differences = agreement() if "agreement" in given.parts else []
    costs = overhead(given.steps, given.batch, given.rounds) if "overhead" in given.parts else []
    peaks = [peak(given.samples)] if "memory" in given.parts else []
    record: dict[str, Any] = {
        "schema_version": 1,
        "day": str(date.today()),
        "machine": machine("cpu", "default", load).model_dump(),
        "agreement": [asdict(one) for one in differences],
        "overhead": [asdict(one) for one in costs],
        "memory": [asdict(one) for one in peaks],
    }
    name = slug(f"{cpu_model()}-{os.cpu_count()}-cores")
    output = given.output or Path(__file__).parent / "results" / "energy" / f"{record['day']}-{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{text(differences, costs, peaks)}\nresults in {output}\n")
    if any(one.reason == UNEXPLAINED for one in differences):
        sys.exit("error: a count differs from NeuroBench's, and not for a reason that is known")


UNEXPLAINED = "UNEXPLAINED"


def agreement() -> list[Difference]:
    """Every layer of every framework's network, with the first layer once per sample."""
    register_neuron("benchmarks.peers.plain_torch.Lif", axes="step")
    setting = Setting(steps=4, batch=16)
    images, _ = sample(setting)
    subjects: dict[str, Subject] = {key: SUBJECTS[key] for key in SUBJECTS if key != "neurodeploy-compiled"}
    found = []
    for subject in (*subjects.values(), PlainTorch()):
        if not installed_version(subject):
            sys.stderr.write(f"{subject.distribution}: not installed, left out\n")
            continue
        sys.stderr.write(f"agreement: {subject.name}\n")
        found += _differences(subject, setting, images)
    return found


def _differences(subject: Subject, setting: Setting, images: Tensor) -> list[Difference]:
    network = build(subject, setting).eval()
    with subject.running():
        theirs = neurobench.by_layer(network, images)
        report = account(network, [images], profiles=[])
    found = []
    for row in report.layers:
        if row.kind != "synapse":
            continue
        acs, macs = round(row.sops_nonzero_weights * len(images)), round(row.effective_macs * len(images))
        other = theirs.get(row.name, neurobench.LayerCount(0, 0, 0, 0))
        found.append(Difference(subject.name, row.name, macs, acs, other.macs, other.acs, _reason(row, macs, acs, other)))
    return found


def _reason(row: LayerRow, macs: int, acs: int, other: neurobench.LayerCount) -> str:
    """Why two counts of one layer differ; "" if they do not."""
    if (macs, acs) == (other.macs, other.acs):
        return "" if other.times == 1 else f"NeuroBench's total has it {other.times} times: the layer has {other.times} names"
    if other.times == 0:
        return "NeuroBench does not see it"
    if macs + acs == other.exact and (macs > 0) == (other.macs > 0):
        return "NeuroBench sums in float32, which rounds beyond 2^24; summed in float64 it is the same"
    if "folded in" in row.note and other.macs and not other.acs:
        return "an average pool before it: folded here, so spikes are counted; NeuroBench sees analog means"
    return UNEXPLAINED


def overhead(steps: list[int], batch: int, rounds: int) -> list[Cost]:
    """A VGG and a residual network, of ours, at each T, and Spikformer-8-512 on one image of 224 × 224 at T = 4."""
    try:
        import neurobench.metrics  # noqa: F401

        counts_too = True
    except ImportError:
        counts_too = False
        sys.stderr.write("neurobench: not installed, left out\n")
    found = []
    for name, spec in {
        "VGG-11": VggSpec(depth=11, hidden=(512,), form="batch-norm"),
        "ResNet-18": ResNetSpec(channels=(64, 128, 256, 512), blocks=(2, 2, 2, 2)),
    }.items():
        for t in steps:
            sys.stderr.write(f"overhead: {name}, T = {t}\n")
            torch.manual_seed(0)
            network = spec.build(3, 10, SpikingActivations(partial(Neuron, NeuronParameters(0.5, 0.5)), t))
            images = torch.rand(batch, 3, 32, 32)
            _settle(network, images[:8])
            passes: dict[str, Callable[[], None]] = {
                PLAIN: partial(_plain, network, images),
                COUNTING: partial(_count, network, images),
            }
            if counts_too:
                passes[NEUROBENCH] = partial(_neurobench, network, images)
            found.append(_cost(name, t, batch, rounds, interleaved(passes, rounds, clock=_clock())))
    sys.stderr.write("overhead: Spikformer-8-512\n")
    torch.manual_seed(0)
    transformer, image = Spikformer().eval(), torch.rand(1, 3, 224, 224)
    _settle(transformer, image, 5)
    both = {PLAIN: partial(_plain, transformer, image), COUNTING: partial(_count, transformer, image)}
    found.append(_cost("Spikformer-8-512", transformer.steps, 1, rounds, interleaved(both, rounds, clock=_clock())))
    return found


def _clock() -> Callable[[], float]:
    return process_time if torch.get_num_threads() == 1 else perf_counter


def _settle(network: nn.Module, images: Tensor, passes: int = 20) -> None:
    """Statistics of batch norm as after a training, so that neurons fire."""
    network.train()
    with torch.no_grad():
        for _ in range(passes):
            network(images)
    network.eval()


def _cost(name: str, steps: int, batch: int, rounds: int, rounds_s: dict[str, list[float]]) -> Cost:
    seconds = {key: median(values) for key, values in rounds_s.items()}
    theirs = seconds.get(NEUROBENCH)
    added = seconds[COUNTING] - seconds[PLAIN]
    return Cost(
        name,
        steps,
        batch,
        rounds,
        seconds,
        seconds[COUNTING] / seconds[PLAIN],
        None if theirs is None else theirs / seconds[COUNTING],
        None if theirs is None or added <= 0 else (theirs - seconds[PLAIN]) / added,
    )


def _plain(network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        network(images)


def _count(network: nn.Module, images: Tensor) -> None:
    account(network, [images], profiles=[])


def _neurobench(network: nn.Module, images: Tensor) -> None:
    neurobench.run(network, images)


def peak(samples: int) -> Peak:
    """100 M parameters on `samples` samples, each pass in a process of its own."""
    found = []
    for what in (PLAIN, COUNTING):
        sys.stderr.write(f"memory: {what}\n")
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.energy", "--peak-of", what, "--samples", str(samples)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"memory of {what}: {done.stderr.strip().splitlines()[-1]}")
        found.append(int(done.stdout.splitlines()[-1]))
    parameters = sum(weight.numel() for weight in _large().parameters())
    return Peak(parameters, samples, _LARGE_BATCH, *found)


_LARGE_BATCH = 100


def _large() -> nn.Module:
    """100 M parameters, two steps: two hidden layers of spiking neurons on 3,072 inputs."""
    with torch.device("meta"):
        layers = nn.Sequential(
            nn.Linear(3072, 8192), nn.Identity(), nn.Linear(8192, 8192), nn.Identity(), nn.Linear(8192, 1000)
        )
    layers[1], layers[3] = (Neuron(NeuronParameters(0.5, 0.1)) for _ in range(2))
    return layers


def _peak_of_pass(what: str, samples: int) -> int:
    network = _large().to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.02, 0.02, generator=generator)

    def batches() -> Any:
        for start in range(0, samples, _LARGE_BATCH):
            yield torch.rand(min(_LARGE_BATCH, samples - start), 3072, generator=generator)[None].expand(2, -1, -1)

    def run() -> None:
        if what == COUNTING:
            account(network, batches(), profiles=[], batch_axis=1)
        else:
            for x in batches():
                _plain(network, x)

    return peak_of(run, lambda: None)[0]


def text(differences: list[Difference], costs: list[Cost], peaks: list[Peak]) -> str:
    """The tables, as Markdown."""
    lines: list[str] = []
    if differences:
        lines += ["| network | layer | MACs | ACs | NeuroBench MACs | NeuroBench ACs | why they differ |"]
        lines += ["|---|---|--:|--:|--:|--:|---|"]
        for one in differences:
            counts = (one.ours_macs, one.ours_acs, one.neurobench_macs, one.neurobench_acs)
            cells = [one.subject, one.layer, *(f"{count:,}" for count in counts), one.reason or "equal"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    if costs:
        lines += ["| network | T | batch | plain, s | counting, s | overhead | NeuroBench, s | pass faster | count faster |"]
        lines += ["|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for cost in costs:
            theirs = cost.seconds.get(NEUROBENCH)
            cells = [
                cost.network,
                str(cost.steps),
                str(cost.batch),
                f"{cost.seconds[PLAIN]:.3f}",
                f"{cost.seconds[COUNTING]:.3f}",
            ]
            cells += [f"{cost.overhead:.3f}", "" if theirs is None else f"{theirs:.3f}"]
            cells += ["" if ratio is None else f"{ratio:.1f}" for ratio in (cost.faster, cost.faster_count)]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for one in peaks:
        plain, counting = one.plain_bytes / 2**20, one.counting_bytes / 2**20
        lines.append(f"{one.parameters:,} parameters, {one.samples:,} samples in batches of {one.batch}:")
        lines.append(f"a plain pass raises the peak by {plain:.0f} MiB, the counting pass by {counting:.0f} MiB")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
