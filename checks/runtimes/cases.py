"""Every form of every network as files, with its inputs and the spikes that are expected: all that a program needs to be tried."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from checks.runtimes.networks import BATCH, STEPS, Exported
from neurodeploy.graph import Graph, interpreter
from neurodeploy.graph.grid import to_grid
from neurodeploy_exporters.onnx import build
from neurodeploy_exporters.onnx.engines import Signature
from neurodeploy_exporters.onnx.runtimes import readable, signature_of
from neurodeploy_exporters.onnx.target import calibrate

CHUNKS = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class Form:
    """A way of exporting.

    Attributes:
        name: of the files.
        what: it is, for the table.
        exact: whether every spike must be that of the reference interpreter.
        model: of a network on the exact grid, or of one in float.
        chunks: steps of the calls.
    """

    name: str
    what: str
    exact: bool
    model: onnx.ModelProto
    chunks: tuple[int, ...] = (STEPS,)


def forms(graph: Graph, samples: NDArray[np.float32]) -> Iterator[Form]:
    """Every form of a network.

    Args:
        graph: in float.
        samples: to round by.
    """
    exact, grids = to_grid(graph), calibrate(graph, samples, STEPS)
    yield Form("whole", "whole sequences", True, build(exact, name="n"))
    yield Form("functions", "whole sequences, with local functions", True, build(exact, name="n", functions=True))
    yield Form("streaming", "chunks of a sequence, states handed on", True, build(exact, name="n", streaming=True), CHUNKS)
    for opset in (21, 23):
        yield Form(f"opset{opset}", f"whole sequences, opset {opset}", True, build(exact, name="n", opset=opset))
    yield Form("int8", "whole sequences, 8-bit integers (opset 19)", False, build(graph, name="n", grids=grids, opset=19))


def write_cases(folder: Path, networks: tuple[Exported, ...]) -> list[str]:
    """Files `<case>.onnx`, `.json` and `.bin` in a folder; the names of the cases."""
    names = []
    for network in networks:
        graph = network.graph()
        samples = network.samples(graph)
        for form in forms(graph, samples):
            names.append(f"{network.name}-{form.name}")
            _write(folder / names[-1], network, form, graph, samples)
    return names


def _write(path: Path, network: Exported, form: Form, graph: Graph, samples: NDArray[np.float32]) -> None:
    expected = interpreter.run(to_grid(graph) if form.exact else graph, samples, steps=STEPS)
    layers = graph.spiking
    model = _exposing(form.model, layers)
    path.with_suffix(".onnx").write_bytes(model.SerializeToString())
    signature = signature_of(model, path.name, timed=graph.input.timed)
    tensors = {"input": samples, graph.output.name: expected[graph.output.name]}
    tensors |= {f"spikes/{layer}": expected[layer] for layer in layers}
    document = {
        "network": network.name,
        "form": form.name,
        "exact": form.exact,
        "model": f"{path.name}.onnx",
        "signature": asdict(signature),
        "steps": STEPS,
        "batch": BATCH,
        "chunks": form.chunks,
        "layers": layers,
        "logits": graph.output.name,
        "tensors": _stored(path.with_suffix(".bin"), tensors),
    }
    path.with_suffix(".json").write_text(json.dumps(document), encoding="utf-8")


def _exposing(model: onnx.ModelProto, layers: tuple[str, ...]) -> onnx.ModelProto:
    """With the spikes of layers among the outputs; functions stay."""
    kept = list(model.functions)
    del model.functions[:]
    exposed = readable(model, layers)
    exposed.functions.extend(kept)
    return exposed


def _stored(path: Path, tensors: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, Any]]:
    """Values one after the other, float32, so that any language reads them; name → offset in values, and shape."""
    told, offset = {}, 0
    with path.open("wb") as file:
        for name, value in tensors.items():
            values = np.ascontiguousarray(value, np.float32)
            file.write(values.tobytes())
            told[name] = {"offset": offset, "shape": values.shape}
            offset += values.size
    return told


def read_signature(document: Mapping[str, Any]) -> Signature:
    """That of a case."""
    return Signature(**document["signature"])
