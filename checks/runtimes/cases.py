"""Every form of every network as files, with its inputs and the spikes expected: all that a program needs to be tried."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from checks.runtimes.networks import BATCH, STEPS, Exported
from neurodeploy.graph import Graph, interpreter
from neurodeploy.graph.grid import to_grid
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.runtimes import readable, signature_of
from neurodeploy_exporters.onnx.stepping import build_step
from neurodeploy_exporters.onnx.target import calibrate
from neurodeploy_exporters.onnx.writer import Grid

CHUNKS = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class Subjects:
    """One network in its forms before it is written.

    Attributes:
        exact: on the power-of-two grid.
        trained: in float.
        grids: 8-bit integers of its tensors.
    """

    exact: Graph
    trained: Graph
    grids: Mapping[str, Grid]


@dataclass(frozen=True)
class Form:
    """A way of exporting.

    Attributes:
        what: it is, for the table.
        model: makes it.
        exact: whether every spike must be that of the reference interpreter; else that of ONNX Runtime is expected.
        chunks: steps of the calls.
        beside: the form of whole sequences whose spikes in ONNX Runtime are expected of one of single steps.
    """

    what: str
    model: Callable[[Subjects], onnx.ModelProto]
    exact: bool = True
    chunks: tuple[int, ...] = (STEPS,)
    beside: str = ""


def _opset(number: int) -> Form:
    return Form(f"whole sequences, opset {number}", lambda of: build(of.exact, name="n", opset=number))


FORMS = {
    "whole": Form("whole sequences", lambda of: build(of.exact, name="n")),
    "functions": Form("with local functions", lambda of: build(of.exact, name="n", functions=True)),
    "streaming": Form("chunks, states handed on", lambda of: build(of.exact, name="n", streaming=True), chunks=CHUNKS),
    "opset21": _opset(21),
    "opset23": _opset(23),
    "step": Form("one step a call", lambda of: build_step(of.exact, name="n", batch=BATCH), chunks=(1,) * STEPS),
    "int8": Form("8-bit integers", lambda of: build(of.trained, name="n", grids=of.grids, opset=19), exact=False),
    "int8step": Form(
        "8-bit integers, one step a call",
        lambda of: build_step(of.trained, name="n", batch=BATCH, grids=of.grids, opset=19),
        exact=False,
        chunks=(1,) * STEPS,
        beside="int8",
    ),
    "half": Form("half precision", lambda of: build(of.trained, name="n", half=True), exact=False),
    "halfstep": Form(
        "half precision, one step a call",
        lambda of: build_step(of.trained, name="n", batch=BATCH, half=True),
        exact=False,
        chunks=(1,) * STEPS,
        beside="half",
    ),
}
"""Name of the files → form; the default opset is 18."""


def write_cases(folder: Path, networks: Sequence[Exported], forms: Sequence[str] = tuple(FORMS)) -> list[str]:
    """Files `<network>-<form>.onnx`, `.json` and `.bin` in a folder; the names of these cases."""
    names = []
    for network in networks:
        trained = network.graph()
        samples = network.samples(trained)
        subjects = Subjects(to_grid(trained), trained, calibrate(trained, samples, STEPS))
        for form in forms:
            names.append(f"{network.name}-{form}")
            _write(folder / names[-1], FORMS[form], FORMS[form].model(subjects), subjects, samples)
    return names


def _write(path: Path, form: Form, made: onnx.ModelProto, subjects: Subjects, samples: NDArray[np.float32]) -> None:
    graph = subjects.exact
    layers = graph.spiking
    if form.exact:
        expected = interpreter.run(graph, samples, steps=STEPS)
    else:
        whole = FORMS[form.beside].model(subjects) if form.beside else made
        expected = Session(whole, also=layers).run({graph.input.name: samples}, steps=STEPS)
    model = _exposing(made, layers)
    path.with_suffix(".onnx").write_bytes(model.SerializeToString())
    tensors = {"input": samples, graph.output.name: expected[graph.output.name]}
    tensors |= {f"spikes/{layer}": expected[layer] for layer in layers}
    document = {
        "model": f"{path.name}.onnx",
        "signature": asdict(signature_of(model, path.name, timed=graph.input.timed)),
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
