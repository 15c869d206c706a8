"""Bundles in programs beside ONNX Runtime (`engines.py`): as files that hold no local functions, with the spikes as outputs."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Piece
from neurodeploy_exporters.onnx.engines import ENGINES, EngineKind, Signature, play
from neurodeploy_exporters.onnx.model import named_tensors, one_line, read
from neurodeploy_exporters.onnx.writer import STATES, STEPS
from neurodeploy_exporters.runtime import Run, Runtime, in_sequence


def runtimes() -> tuple[Runtime, ...]:
    """Every program of `engines.py`, installed or not."""
    return tuple(Runtime(kind.name, partial(_open, kind), kind.module, kind.packages) for kind in ENGINES)


def _open(kind: EngineKind, bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
    def piece_opened(piece: Piece, wanted: Sequence[str]) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
        path = bundle.path(piece.file)
        if piece.format != "onnx":
            raise UserError(f"{path}: {piece.format} found, onnx expected")
        read(path)  # which says what is wrong with a damaged file
        model = readable(onnx.load(str(path)), wanted)
        signature = signature_of(model, str(path))
        folder = tempfile.TemporaryDirectory(prefix="neurodeploy-")  # lives as long as what reads it
        file = Path(folder.name) / piece.file
        onnx.save(model, str(file))
        try:
            engine = kind.open(file, signature, threads)
        except Exception as error:  # each program has errors of its own
            raise UserError(f"{path}: {kind.name} cannot load it: {one_line(error)}") from None

        def run(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            _ = folder
            samples = np.ascontiguousarray(tensors[signature.entry], np.float32)
            chunks = [1] * bundle.manifest.steps if signature.each_step else [bundle.manifest.steps]
            try:
                return play(engine, signature, samples, chunks)
            except Exception as error:
                raise UserError(f"{path}: {kind.name} cannot run it: {one_line(error)}") from None

        return run

    return in_sequence(bundle, layers, piece_opened)


def readable(model: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """The model with its local functions written out, and the spikes of layers among its outputs."""
    flat = inliner.inline_local_functions(model) if model.functions else model
    made = {output for node in flat.graph.node for output in node.output} - {value.name for value in flat.graph.output}
    known = {value.name: value for value in flat.graph.value_info}
    flat.graph.output.extend(
        known.get(layer) or helper.make_tensor_value_info(layer, onnx.TensorProto.FLOAT, None)
        for layer in layers
        if layer in made
    )
    return flat


def signature_of(model: onnx.ModelProto, origin: str, *, timed: bool = False) -> Signature:
    """What enters and leaves a model.

    Args:
        model: of any form.
        origin: for messages.
        timed: whether samples are sequences, of which a model of one step does not tell.

    Raises:
        UserError: several tensors enter it, beside its states and the number of steps.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: value for value in model.graph.input if value.name not in weights}
    states = named_tensors(origin, model, STATES)
    entries = [name for name in inputs if name != STEPS and name not in states]
    if len(entries) != 1:
        raise UserError(f"{origin}: takes {', '.join(entries) or 'no samples'}; one tensor expected")
    shapes = {name: _shape(value) for name, value in (*inputs.items(), *((one.name, one) for one in model.graph.output))}
    return Signature(
        entry=entries[0],
        timed=shapes[entries[0]][:1] == ["T"],
        outputs=tuple(value.name for value in model.graph.output),
        sequences=tuple(value.name for value in model.graph.output if shapes[value.name][:1] == ["T"]),
        steps=STEPS if STEPS in inputs else None,
        states=states,
        shapes={name: shapes[name] for name in states},
        types={
            name: str(np.dtype(helper.tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type))) for name in states
        },
    )


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
