"""Bundles in programs beside ONNX Runtime (`engines.py`): as files that hold no local functions, with the spikes as outputs."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, inliner
from onnx.external_data_helper import uses_external_data

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import Bundle, Piece, StepModel
from neurodeploy_exporters.onnx.engines import ENGINES, EngineKind, Signature, play
from neurodeploy_exporters.onnx.external import WEIGHTS_FILE
from neurodeploy_exporters.onnx.model import named_tensors, one_line, read
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.onnx.stepping import STEP, run_steps
from neurodeploy_exporters.onnx.writer import STATES, STEPS
from neurodeploy_exporters.runtime import Run, Runtime, in_sequence


def runtimes(own: Runtime, bundle: Bundle) -> tuple[Runtime, ...]:
    """ONNX Runtime, as `own` opens a bundle, and every program of `engines.py`, installed or not.

    Where the bundle has a model of one step, each of them runs that too, step by step.
    """
    own = replace(own, module="onnxruntime", packages=("onnxruntime", "onnxruntime-gpu"))
    others = [Runtime(kind.name, partial(_open, kind), kind.module, kind.packages) for kind in ENGINES]
    step = next((model for model in bundle.manifest.steps_alone if model.name == "whole"), None)
    if step is None:
        return (own, *others)
    opened: list[Callable[..., Run]] = [_open_own_steps, *(partial(_open_steps, kind) for kind in ENGINES)]
    stepwise = [
        replace(one, name=f"{one.name}, step by step", open=partial(start, step), files=(step.file,))
        for one, start in zip((own, *others), opened, strict=True)
    ]
    scanning = [one for one, kind in zip(others, ENGINES, strict=True) if kind.scans]
    return (own, *scanning, *stepwise)


def _open(kind: EngineKind, bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
    def piece_opened(piece: Piece, wanted: Sequence[str]) -> Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]:
        path = bundle.path(piece.file)
        if not kind.scans:
            raise UserError(f"{path}: {kind.name} knows no loop over time; export with --step")
        run = _model_opened(kind, path, wanted, threads, timed=False)
        return lambda tensors: run(tensors, [bundle.manifest.steps])

    return in_sequence(bundle, layers, piece_opened)


def _open_own_steps(step: StepModel, bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
    session = Session(bundle.path(step.file), also=layers, threads=threads)
    (entry,) = step.inputs
    return lambda inputs: run_steps(session, step, {entry: inputs}, bundle.manifest.steps, layers)


def _open_steps(kind: EngineKind, step: StepModel, bundle: Bundle, layers: Sequence[str], threads: int) -> Run:
    manifest, (entry,) = bundle.manifest, step.inputs
    run_batch = _model_opened(kind, bundle.path(step.file), layers, threads, timed=manifest.timed_input)
    axis = int(manifest.timed_input)

    def run(inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        count, made = inputs.shape[axis], list[dict[str, NDArray[Any]]]()
        for start in range(0, count, step.batch):  # sizes are fixed: the last batch is filled up with its last sample
            numbers = np.minimum(np.arange(start, start + step.batch), count - 1)
            made.append(run_batch({entry: inputs.take(numbers, axis)}, [1] * manifest.steps))
        whole = {name: np.concatenate([each[name] for each in made], int(name in layers)) for name in (*layers, *step.outputs)}
        return {name: value[:, :count] if name in layers else value[:count] for name, value in whole.items()}

    return run


def _model_opened(
    kind: EngineKind, path: Path, wanted: Sequence[str], threads: int, *, timed: bool
) -> Callable[[Mapping[str, NDArray[Any]], Sequence[int]], dict[str, NDArray[Any]]]:
    """Tensors by name, and the steps of each call → what a model makes."""
    read(path)  # which says what is wrong with a damaged file
    model = readable(onnx.load(str(path), load_external_data=False), wanted)
    signature = signature_of(model, str(path), timed=timed)
    folder = tempfile.TemporaryDirectory(prefix="neurodeploy-")  # lives as long as what reads it
    file = Path(folder.name) / path.name
    file.write_bytes(model.SerializeToString())
    if any(uses_external_data(tensor) for tensor in model.graph.initializer):
        shutil.copyfile(path.with_name(WEIGHTS_FILE), file.with_name(WEIGHTS_FILE))  # ONNX's own reader takes no links
    try:
        engine = kind.open(file, signature, threads)
    except Exception as error:  # each program has errors of its own
        raise UserError(f"{path}: {kind.name} cannot load it: {one_line(error)}") from None

    def run(tensors: Mapping[str, NDArray[Any]], chunks: Sequence[int]) -> dict[str, NDArray[Any]]:
        _ = folder
        try:
            return play(engine, signature, np.ascontiguousarray(tensors[signature.entry], np.float32), chunks)
        except Exception as error:
            raise UserError(f"{path}: {kind.name} cannot run it: {one_line(error)}") from None

    return run


def readable(model: onnx.ModelProto, layers: Sequence[str]) -> onnx.ModelProto:
    """The model with its local functions written out, and the spikes of layers among its outputs."""
    flat = inliner.inline_local_functions(model) if model.functions else model
    made = {output for node in flat.graph.node for output in node.output} - {value.name for value in flat.graph.output}
    known = {value.name: value for value in flat.graph.value_info}
    flat.graph.output.extend(
        known.get(layer) or helper.make_tensor_value_info(layer, _answer_type(flat), None) for layer in layers if layer in made
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
    each_step = any(entry.key == STEP for entry in model.metadata_props)
    outputs = [value.name for value in model.graph.output]
    kept = {*states.values(), *outputs[:1]}  # the answer is of all steps so far
    return Signature(
        entry=entries[0],
        timed=timed if each_step else shapes[entries[0]][:1] == ["T"],
        outputs=tuple(outputs),
        sequences=tuple(name for name in outputs if (name not in kept if each_step else shapes[name][:1] == ["T"])),
        each_step=each_step,
        steps=STEPS if STEPS in inputs else None,
        states=states,
        shapes={name: shapes[name] for name in states},
        types={name: _type(inputs[name]) for name in states},
        entering=_type(inputs[entries[0]]),
    )


def _answer_type(model: onnx.ModelProto) -> int:
    """That of a model's answer, which spikes have too."""
    return int(model.graph.output[0].type.tensor_type.elem_type)


def _type(value: onnx.ValueInfoProto) -> str:
    return str(np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)))


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
