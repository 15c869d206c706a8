"""Instructions, flash and RAM of C exports on an emulated Cortex-M: bundles beside their ReLU and int8 twins, the rate of
spikes at which the event-driven kernel costs what the dense one does, and the time of an inference on the host beside ONNX
Runtime's.

    python -m benchmarks.microcontroller runs/demo/seed-0/bundles/c ...
    python -m benchmarks.microcontroller --host runs/demo/seed-0/bundles/c ...
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, ops
from neurodeploy_exporters.bundle import Sample, read_bundle, sample_of
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.bundled import selftest_files
from neurodeploy_exporters.c.deployed import in_integers
from neurodeploy_exporters.c.file import KernelChoice
from neurodeploy_exporters.c.mapping import map_bundle, microcontroller
from neurodeploy_exporters.c.measuring import measured
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.reading import program_in
from neurodeploy_exporters.c.running import Limits, compiler, run_limited
from neurodeploy_exporters.onnx import build

RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
STEPS = 4


def layer(kind: str) -> Graph:
    """One synapse of a usual size between events and neurons."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.2, shape).astype(np.float32)

    one, none = (1, 1), (0, 0)
    if kind == "linear":
        shape: tuple[int, ...] = (512,)
        synapse: ops.Node = ops.LinearNode(name="synapse", inputs=("input",), weight=weights(128, 512))
    else:
        groups, size = (16, 3) if kind == "depthwise" else (1, 1 if kind == "pointwise" else 3)
        shape = (16, 16, 16)
        synapse = ops.ConvNode(
            name="synapse",
            inputs=("input",),
            weight=weights(16 if groups > 1 else 32, 16 // groups, size, size),
            stride=one,
            padding=(size // 2,) * 2 if size > 1 else none,
            dilation=one,
            groups=groups,
        )
    neuron = ops.NeuronNode(name="fire", inputs=("synapse",), parameters=NeuronParameters(1.0, 1.0, "soft"))
    members = [ops.InputNode(name="input", shape=shape, timed=True), synapse, neuron]
    if len(shape) > 1:
        members.append(ops.SliceNode(name="few", inputs=("fire",), starts=(0, 0, 0), stops=(4, 1, 1), steps=(1, 1, 1)))
        members.append(ops.FlattenNode(name="flat", inputs=("few",)))
    members.append(ops.TimeMeanNode(name="mean", inputs=(members[-1].name,)))
    return Graph([*members, ops.OutputNode(name="logits", inputs=("mean",))])


def kernels(kind: str, core: str) -> None:
    """A row of the table of kernels: instructions of a step at every rate, and where both meet."""
    graph, rng = layer(kind), np.random.default_rng(1)
    events, dense = list[float](), list[float]()
    for rate in RATES:
        x = (rng.random((STEPS, 4, *graph.input.shape)) < rate).astype(np.float32)
        exact = in_integers(graph, x, STEPS)
        sample = sample_of(exact, x)
        for kernel, found in (("event", events), ("dense", dense)):
            program = program_of(exact, STEPS, {"synapse": KernelChoice(kernel)}, events=True)  # type: ignore[arg-type]
            found.append(measured({**program.files, **selftest_files(program, sample)}, core).mean / STEPS)
    costs = np.polyfit(RATES, events, 1)
    crossing = (np.mean(dense) - costs[1]) / costs[0]
    cells = " | ".join(f"{value:,.0f}" for value in events)
    where = f"{100 * crossing:.0f} %" if crossing < 1 else "none"
    print(f"| {kind} | {cells} | {np.mean(dense):,.0f} | {where} |", flush=True)


def networks(folders: list[Path], core: str) -> None:
    """The table of bundles and their twins."""
    print("| network | | instructions, mean | worst | flash, bytes | RAM, bytes |\n|---|---|---|---|---|---|")
    for folder in folders:
        for placed in map_bundle(read_bundle(folder), microcontroller(core)).placed:
            found = placed.footprint
            assert found is not None, "the tools that measure are missing: make mcu"
            cells = f"{found.mean:,.0f} | {found.worst:,} | {found.flash:,} | {found.ram:,}"
            print(f"| {folder.name} | {placed.title} | {cells} |", flush=True)


_TIMING = """
#include <stdio.h>
#include <time.h>
#include "sample.h"
void model_trace(int layer, const void *values);
static model_t model;
static model_logit_t logits[MODEL_CLASSES];
int main(void) {
    double shortest = 1e9;
    for (int n = 0; n < CALLS; n++) {
        struct timespec begin, end;
        double seconds;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        if (SELFTEST_INFER(&model, selftest_inputs + n % SELFTEST_SAMPLES * SELFTEST_INPUT_SIZE, logits) != 0) return 1;
        clock_gettime(CLOCK_MONOTONIC, &end);
        seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        if (seconds < shortest) shortest = seconds;
    }
    printf("%.9f\\n", shortest);
    return 0;
}
"""
_ROUNDS = 10


def in_c(program: CProgram, sample: Sample, calls: int, folder: Path) -> Callable[[], float]:
    """Something that says the shortest time of so many inferences of the C program."""
    files = {**program.files, **selftest_files(program, sample), "timing.c": _TIMING}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    units = [name for name in program.files if name.endswith(".c")]
    flags = ["-std=gnu99", "-O2", f"-DCALLS={calls}", "-o", "timing"]
    run_limited([compiler() or "cc", *flags, *units, "timing.c"], folder, Limits())
    return lambda: float(run_limited([str(folder / "timing")], folder, Limits()))


def in_onnx_runtime(graph: Graph, steps: int, sample: Sample, calls: int) -> Callable[[], float]:
    """The same of ONNX Runtime, with one thread, for one sample at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        build(graph, name="network").SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = graph.input.name
    inputs = [sample.inputs[:, n : n + 1] if graph.input.timed else sample.inputs[n : n + 1] for n in range(len(sample.logits))]
    further = {one.name: np.array([steps], np.int64) for one in session.get_inputs() if one.name != name}
    (answer,) = session.run([graph.output.name], {name: inputs[0], **further})
    assert np.array_equal(answer[0], sample.logits[0]), "ONNX Runtime answers otherwise"

    def shortest() -> float:
        found = float("inf")
        for number in range(calls):
            feed = {name: inputs[number % len(inputs)], **further}
            begin = time.perf_counter()
            session.run([graph.output.name], feed)
            found = min(found, time.perf_counter() - begin)
        return found

    return shortest


def hosts(folders: list[Path], calls: int) -> None:
    """The table of times on this machine: both in turn, so that what else runs here meets both."""
    print("| network | C, ms | ONNX Runtime, ms | ratio |\n|---|---|---|---|")
    for path in folders:
        bundle = read_bundle(path)
        (program, _), sample = program_in(bundle), bundle.sample()
        with TemporaryDirectory(prefix="neurodeploy-c-") as name:
            ours, theirs = (
                in_c(program, sample, calls, Path(name)),
                in_onnx_runtime(program.graph, program.steps, sample, calls),
            )
            times = [(ours(), theirs()) for _ in range(_ROUNDS)]
        c, onnx = (1e3 * min(column) for column in zip(*times, strict=True))
        print(f"| {path.name} | {c:.3f} | {onnx:.3f} | {onnx / c:.2f} |", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--host", action="store_true", help="time on this machine instead of instructions on a Cortex-M")
    parser.add_argument("--calls", type=int, default=100, help=f"in each of {_ROUNDS} rounds, with --host")
    given = parser.parse_args()
    if given.host:
        hosts(given.bundles, given.calls)
        return
    if given.bundles:
        networks(given.bundles, "cortex-m4")
    for core in ("cortex-m4", "cortex-m0"):
        print(f"\n{core}: instructions of a step")
        print("| layer | " + " | ".join(f"{100 * rate:g} %" for rate in RATES) + " | dense | crossing |")
        print("|---" * (len(RATES) + 3) + "|")
        for kind in ("linear", "conv", "pointwise", "depthwise"):
            kernels(kind, core)


if __name__ == "__main__":
    main()
