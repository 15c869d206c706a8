"""The ONNX export against torch and against an unrolled export: time, time to load, file size, time to export.

First every spike of every layer is compared on weights of the exact grid; then the runs are timed, interleaved.

    python -m benchmarks.onnx --networks vgg --steps 4 16 --batch 1
"""

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.eager import Eager, Layout
from benchmarks.machine import cpu_model, machine, slug
from benchmarks.report import table
from benchmarks.results import Artefact, ExportResult, ExportTiming, SpikesAgreement
from benchmarks.timing import interleaved
from neurodeploy.dynamics.layers import Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, fold_batch_norm, ops
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.networks import NetworkSpec, ResNetSpec, SpikingActivations, VggSpec
from neurodeploy_exporters.onnx import Session, build

NETWORKS: dict[str, NetworkSpec] = {
    "vgg": VggSpec(layers=(16, "A", 32, 32, "A", 64, 64, "A"), hidden=(128,), form="batch-norm"),
    "resnet": ResNetSpec(channels=(16, 32, 64), blocks=(3, 3, 3)),
    "vgg-wide": VggSpec(layers=(32, "A", 64, 64, "A", 128, 128, "A"), hidden=(128,), form="batch-norm"),
}
"""VGG-type, of five convolutions and a hidden layer; ResNet-20 (He et al. 2016); the VGG with twice the channels, whose time is
mostly that of its convolutions, which are as fast in torch. All for 3×32×32, with 10 classes."""
OURS, AT_ONCE, UNROLLED = "ONNX Runtime, ours", "… all samples at once", "ONNX Runtime, unrolled"
LAYOUTS: tuple[Layout, ...] = Layout.__args__
PACKAGE = "neurodeploy in torch"
_SHAPE = (3, 32, 32)
_LOADS = 7
_LONGEST_COMPARED = 16
_REST_S = 0.1


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4, 16, 100], help="T")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds of one pass above which only 3 rounds are run")
    parser.add_argument("--unrolled-steps", type=int, default=16, help="largest T of unrolled exports at batch > 1")
    parser.add_argument("--output", type=Path, help="JSON; default benchmarks/results/onnx/<date>-<machine>….json")
    return parser.parse_args()


def network(name: str) -> Graph:
    """With random weights on the exact grid, scaled by the batch norms so that a fifth or so of the neurons fire."""
    torch.manual_seed(0)
    activations = SpikingActivations(partial(Neuron, NeuronParameters(0.5, 0.5, "hard")), 4)
    module = NETWORKS[name].build(3, 10, activations)
    norms = [each for each in module.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the plain mean over all batches
    with torch.no_grad():
        module(_samples(32))
    return to_grid(fold_batch_norm(trace(module.eval(), _SHAPE)))


def _samples(batch: int) -> torch.Tensor:
    """`[B, 3, 32, 32]`, multiples of 1/256."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 257, (batch, *_SHAPE), generator=generator) / 256


def compare(name: str, graph: Graph, steps: int) -> list[SpikesAgreement]:
    """All spikes of all layers, ONNX Runtime's against every form in torch."""
    x, layers = _samples(2), graph.spiking
    ours = Session(build(graph, name=name), also=layers).run({graph.input.name: x.numpy()}, steps=steps)
    found = []
    for layout in LAYOUTS:
        with torch.inference_mode():
            *spikes, _ = Eager(graph, steps, layout, layers)(x)
        pairs = [(ours[layer], theirs.numpy()) for layer, theirs in zip(layers, spikes, strict=True)]
        found.append(
            SpikesAgreement(
                network=name,
                steps=steps,
                subject=f"torch, {layout}",
                compared=sum(one.size for one, _ in pairs),
                spikes=int(sum(one.sum() for one, _ in pairs)),
                different=sum(int((one != other).sum()) for one, other in pairs),
            )
        )
    return found


def export_ours(name: str, graph: Graph) -> bytes:
    """As the exporter writes it: any T, any B."""
    model: bytes = build(graph, name=name).SerializeToString(deterministic=True)
    return model


def export_unrolled(graph: Graph, steps: int, batch: int) -> bytes:
    """What torch.onnx.export makes of the loops over time: one T, one B."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "unrolled.onnx"
        torch.onnx.export(
            Eager(graph, steps, "folded"), (_samples(batch),), str(path), dynamo=False, opset_version=18, input_names=["input"]
        )
        return path.read_bytes()


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    start = perf_counter()
    made = make()
    return made, perf_counter() - start


def _load(model: bytes, threads: int) -> onnxruntime.InferenceSession:
    """ONNX Runtime alone, with its own optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def artefact(name: str, subject: str, steps: int | None, make: Callable[[], bytes], threads: int, loads: int) -> Artefact:
    """Export once, load several times."""
    model, export_s = timed(make)
    load_s = median(timed(partial(_load, model, threads))[1] for _ in range(loads))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        checked_s = median(timed(partial(Session, path))[1] for _ in range(loads)) if subject == OURS else None
    return Artefact(
        network=name,
        subject=subject,
        steps=steps,
        bytes=len(model),
        operators=len(onnx.load_from_string(model).graph.node),
        export_s=export_s,
        load_s=load_s,
        session_s=checked_s,
    )


def time_runs(name: str, graph: Graph, steps: int, batch: int, given: argparse.Namespace) -> list[ExportTiming]:
    """Everybody's passes, interleaved."""
    x = _samples(batch)
    feed: dict[str, NDArray[Any]] = {graph.input.name: x.numpy(), "steps": np.array([steps], np.int64)}
    model = build(graph, name=name)
    session, at_once = (Session(model, threads=given.threads, portion=portion) for portion in (None, batch))
    passes: dict[str, Callable[[], Any]] = {OURS: lambda: session.run(feed)}
    if batch > 1:
        passes[AT_ONCE] = lambda: at_once.run(feed)
    modules: dict[str, torch.nn.Module] = {f"torch, {layout}": Eager(graph, steps, layout) for layout in LAYOUTS}
    for label, module in modules.items():
        passes[label] = partial(_without_gradient, module, x)
    package = GraphModule(_with_steps(graph, steps))
    passes[PACKAGE] = partial(_without_gradient, package, x)
    if batch == 1 or steps <= given.unrolled_steps:
        unrolled = _load(export_unrolled(graph, steps, batch), given.threads)
        passes[UNROLLED] = lambda: unrolled.run(None, {"input": x.numpy()})
    torch.set_num_threads(given.threads)
    once = sum(timed(each)[1] for each in passes.values())
    rounds = given.rounds if once < given.longest else min(3, given.rounds)
    seconds = interleaved(passes, rounds, rest=_REST_S if given.threads > 1 else 0.0)
    return [
        ExportTiming(
            network=name,
            subject=subject,
            steps=steps,
            batch=batch,
            threads=given.threads,
            median_s=median(values),
            fastest_s=min(values),
            rounds=rounds,
        )
        for subject, values in seconds.items()
    ]


def _without_gradient(module: torch.nn.Module, x: torch.Tensor) -> None:
    with torch.inference_mode():
        module(x)


def _with_steps(graph: Graph, steps: int) -> Graph:
    return Graph(replace(node, steps=steps) if isinstance(node, ops.EncodeNode) else node for node in graph.nodes)


def text(result: ExportResult) -> str:
    """The whole report; a ratio is the other's time over ours, above 1 where ours is faster."""
    m = result.machine
    head = [
        f"{result.day}  {m.cpu}, {m.cores} cores, {m.memory_gib:g} GiB, Python {m.python}, torch {m.torch}, "
        + ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        f"load average {m.load_before:g} before, {m.load_after:g} after"
        + ("  (other jobs ran too: ratios are rough)" if m.load_after > result.threads + 0.5 else ""),
        f"{result.threads} thread(s); a first layer fed with a constant input is computed once per sample by all",
    ]
    different = sum(each.different for each in result.agreement)
    compared = sum(each.compared for each in result.agreement)
    agreement = f"{different:,} of {compared:,} spikes and silences differ between ONNX Runtime and torch, on the exact grid"
    names = list(dict.fromkeys(each.network for each in result.timings))
    parts = ["\n".join(head), agreement]
    parts += [f"{name}: ms per pass; in brackets the time over ours\n{_times(result, name)}" for name in names]
    parts += [f"{name}: files\n{_files(result, name)}" for name in names]
    return "\n\n".join(parts) + "\n"


def _times(result: ExportResult, network: str) -> str:
    own = [each for each in result.timings if each.network == network]
    columns = list(dict.fromkeys((each.batch, each.steps) for each in own))
    found = {(each.subject, each.batch, each.steps): each.median_s for each in own}
    rows = [["", *(f"B {batch}, T {steps}" for batch, steps in columns)]]
    for subject in dict.fromkeys(each.subject for each in own):
        cells = []
        for column in columns:
            seconds = found.get((subject, *column))
            ratio = "" if subject == OURS or seconds is None else f" ({seconds / found[OURS, *column]:.2f})"
            cells.append("–" if seconds is None else f"{1e3 * seconds:,.2f}{ratio}")
        rows.append([subject, *cells])
    eager = [min(found[f"torch, {layout}", *column] for layout in LAYOUTS) for column in columns]
    rows.append(["better torch layout / ours", *(f"{e / found[OURS, *c]:.2f}" for e, c in zip(eager, columns, strict=True))])
    return table(rows)


def _files(result: ExportResult, network: str) -> str:
    rows = [["", "T", "bytes", "operators", "export, s", "load, ms", "load with checks, ms"]]
    for each in (each for each in result.artefacts if each.network == network):
        checked = "–" if each.session_s is None else f"{1e3 * each.session_s:.1f}"
        cells = [f"{each.bytes:,}", f"{each.operators:,}", f"{each.export_s:.2f}", f"{1e3 * each.load_s:.1f}", checked]
        rows.append([each.subject, str(each.steps or "any"), *cells])
    return table(rows)


def main() -> None:
    given = arguments()
    load_before = os.getloadavg()[0]
    torch.set_num_threads(given.threads)
    agreement, artefacts, timings = list[SpikesAgreement](), list[Artefact](), list[ExportTiming]()
    for name in given.networks:
        graph = network(name)
        _say(f"{name}: spikes")
        agreement += [each for steps in given.steps if steps <= _LONGEST_COMPARED for each in compare(name, graph, steps)]
        _say(f"{name}: files")
        artefacts.append(artefact(name, OURS, None, partial(export_ours, name, graph), given.threads, _LOADS))
        for steps in given.steps:
            make = partial(export_unrolled, graph, steps, 1)
            artefacts.append(artefact(name, UNROLLED, steps, make, given.threads, 1 if steps > _LONGEST_COMPARED else 3))
        for batch in given.batch:
            for steps in given.steps:
                _say(f"{name}: time, batch {batch}, T = {steps}")
                timings += time_runs(name, graph, steps, batch, given)
    result = ExportResult(
        day=date.today(),
        machine=machine("cpu", "default", load_before),
        versions={name: version(name) for name in ("onnx", "onnxruntime")},
        threads=given.threads,
        agreement=agreement,
        artefacts=artefacts,
        timings=timings,
    )
    threads = f"-{given.threads}-threads" if given.threads > 1 else ""
    output = given.output or Path(__file__).parent / "results" / "onnx" / f"{result.day}-{slug(cpu_model())}{threads}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"\n{text(result)}\nresults in {output}\n")
    if any(each.different for each in result.agreement):
        sys.exit("error: spikes differ; the timings do not compare the same computation")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
