"""Damages ONNX files in thousands of ways and runs each: it must answer, or be refused in one line that names the file.

    python -m checks.fuzz_onnx --seed 0 --files 10000

The sound files are made here: models of one time step, and models with the time loop, of a network with delays, currents, cells
and a mean, with weights in the model and beside it. Bytes are changed, or the content: names, types, sizes, attributes,
metadata. Seed and number make a file again: `--only NUMBER`. A file that shows a defect (a traceback, the end of the process, a
hang, a message of several lines) is kept. Exit code 1 if there is any. Linux only.
"""

import argparse
import contextlib
import multiprocessing
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import numpy as np
import onnx

from checks.fuzzing.content import damage_content
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.updates import Program
from neurodeploy.graph import Graph, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.external import WEIGHTS_FILE, WeightsFile
from neurodeploy_exporters.onnx.graph import read_members
from neurodeploy_exporters.onnx.stepping import build_step

_BATCH = 200  # files of a worker process
_SECONDS = 60.0
_MEGABYTES = 6144
_ODD_SIZES = (0, 1, 2, 3, 64, 1 << 20, 1 << 31, 1 << 40, 1 << 62, -1, -2)


def network() -> Graph:
    """A network with every kind of state."""
    random = np.random.default_rng(0)

    def linear(name: str, source: str, *shape: int) -> ops.LinearNode:
        return ops.LinearNode(name=name, inputs=(source,), weight=random.normal(0, 0.6, shape).astype(np.float32))

    step = Program()
    h = step("add", step("mul", ("state", 0), 0.5), ("input", 0))
    fires = step("gt", h, ("array", 0))
    update = step.update(fires, (0.25, step("where", fires, 0.0, h)))
    parameters = NeuronParameters(0.5, 0.5, "soft")
    arrays = (np.linspace(0.2, 0.6, 20, dtype=np.float32),)
    return Graph(
        [
            ops.InputNode(name="input", shape=(12,), timed=True),
            linear("fc", "input", 20, 12),
            ops.LowPassNode(name="current", inputs=("fc",), decay=0.5),
            ops.NeuronNode(name="first", inputs=("current",), parameters=parameters),
            ops.DelayNode(name="late", inputs=("first",), steps=2),
            linear("inner", "late", 20, 20),
            ops.CellNode(name="cell", inputs=("inner",), update=update, arrays=arrays),
            linear("classifier", "cell", 3, 20),
            ops.TimeMeanNode(name="mean", inputs=("classifier",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def sound_files(folder: Path) -> list[bytes]:
    """Contents of sound files; the weights of those that have them elsewhere are written into `folder`."""
    graph, weights = network(), WeightsFile()
    models = [build_step(graph, name="n", batch=2), build_step(graph, name="n", batch=2, spike_counts=True, weights=weights)]
    models += [build_step(graph, name="n", batch=2, half=True), build(graph, name="n", half=True)]
    models += [build(graph, name="n", streaming=True), build(graph, name="n", functions=True, weights=weights)]
    weights.write(folder / WEIGHTS_FILE)
    # those of one step twice: others are tried elsewhere too
    return [model.SerializeToString() for model in (*models[:3], *models)]


def make(seeds: list[bytes], seed: int, number: int) -> bytes:
    """The damaged file `number`."""
    random = Random(f"{seed}/{number}")
    data = random.choice(seeds)
    if random.random() < 0.6:
        data = _damage_members(data, random)
        if random.random() < 0.8:
            return data
    return damage_content(data, seeds, random)[0]


def _damage_members(data: bytes, random: Random) -> bytes:
    model = onnx.ModelProto.FromString(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        with contextlib.suppress(IndexError, ValueError):  # an earlier damage took what this one is for
            random.choice(_RULES)(model, random)
    return model.SerializeToString()


def _names(model: onnx.ModelProto) -> list[str]:
    made = [name for node in model.graph.node for name in (*node.input, *node.output)]
    return [*made, *(tensor.name for tensor in model.graph.initializer), "", "absent", "a\nb", "x" * 5000]


def _renamed(model: onnx.ModelProto, random: Random) -> None:
    node = random.choice(model.graph.node)
    names = random.choice([names for names in (node.input, node.output) if names])
    names[random.randrange(len(names))] = random.choice(_names(model))


def _operator_replaced(model: onnx.ModelProto, random: Random) -> None:
    kinds = ("Add", "Mul", "Sub", "Where", "Scan", "Loop", "If", "Greater", "Nothing", "Gemm", "MatMul", "Reshape", "Slice")
    random.choice(model.graph.node).op_type = random.choice(kinds)


def _operator_removed(model: onnx.ModelProto, random: Random) -> None:
    del model.graph.node[random.randrange(len(model.graph.node))]


def _operators_swapped(model: onnx.ModelProto, random: Random) -> None:
    nodes = list(model.graph.node)
    random.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _size_replaced(model: onnx.ModelProto, random: Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    dims = random.choice(values).type.tensor_type.shape.dim
    dims[random.randrange(len(dims))].dim_value = random.choice(_ODD_SIZES)


def _type_replaced(model: onnx.ModelProto, random: Random) -> None:
    values = [*model.graph.input, *model.graph.output]
    random.choice(values).type.tensor_type.elem_type = random.choice((0, 6, 7, 8, 9, 10, 11, 16, 99))


def _weights_replaced(model: onnx.ModelProto, random: Random) -> None:
    tensor = random.choice(model.graph.initializer)
    match random.choice(("dims", "type", "raw", "name", "rank")):
        case "dims":
            tensor.dims[random.randrange(len(tensor.dims))] = random.choice(_ODD_SIZES)
        case "type":
            tensor.data_type = random.choice((0, 6, 7, 8, 9, 10, 11, 16, 99))
        case "raw":
            tensor.raw_data = random.randbytes(random.choice((0, 1, 4, 100, len(tensor.raw_data))))
        case "name":
            tensor.name = random.choice(_names(model))
        case "rank":
            tensor.dims.append(random.choice((1, 1, 2)))


def _outside_replaced(model: onnx.ModelProto, random: Random) -> None:
    entries = random.choice([tensor for tensor in model.graph.initializer if tensor.external_data]).external_data
    entry = random.choice(entries)
    entry.value = random.choice(("", "0", "-1", "7", str(1 << 40), "9" * 30, "../x", "/dev/zero", "absent.data", "a\nb", "."))


def _attribute_replaced(model: onnx.ModelProto, random: Random) -> None:
    attribute = random.choice([one for node in model.graph.node for one in node.attribute])
    match random.choice(("i", "ints", "f", "type", "name")):
        case "i":
            attribute.i = random.choice(_ODD_SIZES)
        case "ints":
            attribute.ints.extend([random.choice(_ODD_SIZES)])
        case "f":
            attribute.f = random.choice((float("nan"), float("inf"), -1.0, 0.0))
        case "type":
            attribute.type = random.choice((1, 2, 3, 4, 5, 6, 7))
        case "name":
            attribute.name = random.choice(("to", "axis", "body", "absent"))


def _metadata_replaced(model: onnx.ModelProto, random: Random) -> None:
    entry = random.choice(model.metadata_props)
    texts = ("", "{}", "[]", "null", "7", '{"a": "b"}', '{"input": "logits"}', "[" * 100_000, "1" * 50, entry.value[:-3])
    if random.random() < 0.2:
        entry.key = random.choice(("states", "step", "calls", "functions", "largest_tensor", "skipped_steps", ""))
    entry.value = random.choice(texts)


_RULES: tuple[Callable[[onnx.ModelProto, Random], None], ...] = (
    _renamed,
    _renamed,
    _operator_replaced,
    _operator_removed,
    _operators_swapped,
    _size_replaced,
    _type_replaced,
    _weights_replaced,
    _weights_replaced,
    _outside_replaced,
    _attribute_replaced,
    _metadata_replaced,
)


def try_file(path: Path) -> str:
    """What becomes of a file: "run" or "refused"; else the defect."""
    outcomes = [_tried(path, _run), _tried(path, read_members)]
    return next((one for one in outcomes if one not in ("run", "refused")), outcomes[0])


def _tried(path: Path, attempt: Callable[[Path], object]) -> str:
    try:
        attempt(path)
    except UserError as error:
        text = str(error)
        named = str(path) in text or path.name in text  # a file that lacks is named beside
        return "refused" if named and "\n" not in text and len(text) < 1500 else f"message: {text[:500]!r}"
    except MemoryError:
        return "refused"
    except BaseException as error:  # whatever else comes is what is looked for
        return f"{type(error).__name__}: {str(error)[:500]}"
    return "run"


def _run(path: Path) -> None:
    session = Session(path, threads=1)
    feed = {}
    for name, value in session.inputs.items():
        if name in session.states:
            continue
        sizes = [size if isinstance(size, int) else 2 for size in value.shape]
        if min(sizes, default=1) < 0 or np.prod(sizes, dtype=float) > 1 << 24:
            raise UserError(f"{path}: input {name}: a reasonable size expected")
        feed[name] = np.zeros(sizes, np.int64 if "int64" in value.type else np.float32)
    session.run(feed, steps=2)


def _work(results: Connection, seeds: list[bytes], seed: int, numbers: range, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEGABYTES << 20, _MEGABYTES << 20))
    path = folder / "case.onnx"
    for number in numbers:
        path.write_bytes(make(seeds, seed, number))
        results.send((number, try_file(path)))


def outcomes(seeds: list[bytes], seed: int, numbers: range, folder: Path) -> Iterator[tuple[int, str]]:
    """Number and end of each file, in processes that are replaced when they end or hang."""
    context = multiprocessing.get_context("fork")
    while numbers:
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(theirs, seeds, seed, numbers[:_BATCH], folder), daemon=True)
        worker.start()
        theirs.close()
        for number in numbers[:_BATCH]:
            numbers, outcome = numbers[1:], f"no end within {_SECONDS:g} s"
            if ours.poll(_SECONDS):
                try:
                    _, outcome = ours.recv()
                except EOFError:
                    worker.join()
                    outcome = f"the process ended with {worker.exitcode}"
            yield number, outcome
            if outcome.startswith(("no end", "the process")):
                break
        worker.kill()
        worker.join()
        ours.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--files", type=int, default=10_000, help="how many to try")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try this one file")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz-onnx"), help="folder for files that show a defect")
    options = parser.parse_args()
    numbers = range(options.files) if options.only is None else range(options.only, options.only + 1)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz.") as name:
        seeds = sound_files(Path(name))
        for number, outcome in outcomes(seeds, options.seed, numbers, Path(name)):
            kind = outcome if outcome in ("run", "refused") else "defect"
            counts[kind] += 1
            if kind == "defect":
                options.keep.mkdir(parents=True, exist_ok=True)
                path = options.keep / f"{options.seed}-{number}.onnx"
                path.write_bytes(make(seeds, options.seed, number))
                print(f"{path}: {outcome}", flush=True)
    parts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    print(f"{sum(counts.values()):,} files from {len(set(seeds))} sound ones, seed {options.seed}: {parts}")
    return 1 if counts["defect"] else 0


if __name__ == "__main__":
    sys.exit(main())
