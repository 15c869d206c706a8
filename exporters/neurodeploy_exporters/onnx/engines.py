"""Programs beside ONNX Runtime that run ONNX files, each behind the same few lines.

This file needs numpy alone, and a program only when it is asked for: `checks/runtimes` loads it in environments that hold
nothing else. What goes wrong is raised as it comes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tensors: TypeAlias = Mapping[str, NDArray[Any]]
Engine: TypeAlias = Callable[[Tensors], dict[str, NDArray[Any]]]
"""Inputs by name → outputs by name."""


@dataclass(frozen=True)
class Signature:
    """What enters and leaves a model, and how it goes through time.

    Attributes:
        entry: tensor that samples enter as.
        timed: whether these are sequences `[T, B, …]`; else they are `[B, …]`.
        outputs: names, in the model's order.
        sequences: those of the outputs that are `[T, B, …]`.
        steps: input that tells T, int64 `[1]`; None if there is none.
        states: input → the output that it is in the next call.
        shapes: state → its shape, "B" for the number of samples.
        types: state → numpy's name of its type.
        each_step: the model is of one step, and has no time axis at all.
        entering: numpy's name of the type of samples.
    """

    entry: str
    timed: bool
    outputs: tuple[str, ...]
    sequences: tuple[str, ...] = ()
    steps: str | None = None
    states: Mapping[str, str] | None = None
    shapes: Mapping[str, Sequence[int | str]] | None = None
    types: Mapping[str, str] | None = None
    each_step: bool = False
    entering: str = "float32"


def play(engine: Engine, signature: Signature, samples: NDArray[np.float32], chunks: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Run samples through a model, call after call with its states handed on.

    Args:
        engine: that has opened the model.
        signature: of the model.
        samples: `[B, …]`, or `[T, B, …]`.
        chunks: steps of each call; all in one where there are no states.

    Returns:
        Output → `[T, B, …]` of what is made step by step, else what the last call made.
    """
    batch = samples.shape[1 if signature.timed else 0]
    shapes, types = signature.shapes or {}, signature.types or {}
    states = {
        name: np.zeros([batch if size == "B" else int(size) for size in shapes[name]], types[name])
        for name in signature.states or {}
    }
    samples = np.asarray(samples, signature.entering)
    answers, first = list[dict[str, NDArray[Any]]](), 0
    for count in chunks:
        entering = samples[first : first + count] if signature.timed else samples
        feed = {signature.entry: entering[0] if signature.timed and signature.each_step else entering, **states}
        if signature.steps is not None:
            feed[signature.steps] = np.array([count], np.int64)
        made = engine({name: np.ascontiguousarray(value) for name, value in feed.items()})
        states = {before: made[after].reshape(states[before].shape) for before, after in (signature.states or {}).items()}
        answers.append(made)
        first += count
    joined: dict[str, NDArray[Any]] = {}
    for name in signature.outputs:
        if name not in signature.sequences:
            joined[name] = answers[-1][name]
        elif signature.each_step:
            joined[name] = np.stack([answer[name] for answer in answers])
        else:
            joined[name] = np.concatenate([answer[name] for answer in answers])
    return {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in joined.items()}


def openvino(path: Path, signature: Signature, threads: int) -> Engine:
    """OpenVINO on the CPU, in float32 throughout: by itself it takes bfloat16 where a processor has it."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
    request = compiled.create_infer_request()
    names = {port.any_name for port in compiled.inputs}
    ports = {name: compiled.output(name) for name in signature.outputs}

    def run(feed: Tensors) -> dict[str, NDArray[Any]]:
        request.infer({name: value for name, value in feed.items() if name in names})
        return {name: request.get_tensor(port).data.copy() for name, port in ports.items()}

    return run


def reference(path: Path, signature: Signature, threads: int) -> Engine:  # noqa: ARG001 - numpy takes what it was started with
    """The evaluator that comes with ONNX, in numpy: what the standard says, slowly."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))

    def run(feed: Tensors) -> dict[str, NDArray[Any]]:
        known = {name: feed[name] for name in evaluator.input_names if name in feed}
        return dict(zip(signature.outputs, map(np.asarray, evaluator.run(list(signature.outputs), known)), strict=True))

    return run


def opencv(path: Path, signature: Signature, threads: int) -> Engine:
    """OpenCV's dnn module; it makes a network of fixed shapes anew for every number of samples."""
    import cv2

    cv2.setNumThreads(threads)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what goes wrong is raised, too
    network = cv2.dnn.readNetFromONNX(str(path))

    def run(feed: Tensors) -> dict[str, NDArray[Any]]:
        for name, value in feed.items():
            network.setInput(value, name)
        return dict(zip(signature.outputs, network.forward(list(signature.outputs)), strict=True))

    return run


@dataclass(frozen=True)
class EngineKind:
    """A program.

    Attributes:
        name: as its makers write it.
        open: model, its signature, threads → the program with the model.
        module: that it is imported as.
        packages: distributions that bring the module.
        scans: whether it knows `Scan`; else it runs models of one step alone.
    """

    name: str
    open: Callable[[Path, Signature, int], Engine]
    module: str
    packages: tuple[str, ...]
    scans: bool = True


ENGINES = (
    EngineKind("OpenVINO", openvino, "openvino", ("openvino",)),
    EngineKind("OpenCV", opencv, "cv2", ("opencv-python-headless", "opencv-python", "opencv-contrib-python"), False),
    EngineKind("ONNX ReferenceEvaluator", reference, "onnx", ("onnx",)),
)
