"""Programs of the check that `neurodeploy benchmark` does not ask: ONNX Runtime as itself, MNN, tract and IREE.

As `engines.py`, this needs numpy alone.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Engine = Callable[[Any], dict[str, np.ndarray]]
_WINOGRAD_MEMORY_LEVEL = 3  # of MNN's hints: at 0 convolutions are summed up as they are written, and not after Winograd


def onnxruntime(path: Path, signature: Any, threads: int) -> Engine:
    """ONNX Runtime, as anybody would call it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    outputs = list(signature.outputs)
    return lambda feed: dict(
        zip(outputs, session.run(outputs, {name: value for name, value in feed.items() if name in names}), strict=True)
    )


def mnn(path: Path, signature: Any, threads: int) -> Engine:
    """MNN: its converter, then its interpreter.

    The converter is called beneath `MNN.tools`, which on its import installs a package with the first `pip` that it finds, and
    reports to its makers.
    """
    import _tools
    import MNN

    folder = tempfile.TemporaryDirectory()
    made = Path(folder.name) / "model.mnn"
    with _quiet():
        arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(made), "--bizCode", "check"]
        _tools.mnnconvert(arguments)
        if not made.is_file():
            raise ValueError("the converter writes no model")
        network = MNN.Interpreter(str(made))
        network.setSessionHint(_WINOGRAD_MEMORY_LEVEL, 0)
        session = network.createSession({"numThread": threads, "precision": "high", "backend": "CPU"})
    inputs, outputs = network.getSessionInputAll(session), network.getSessionOutputAll(session)
    lacking = [name for name in signature.outputs if name not in outputs]
    if lacking:
        raise ValueError(f"the converted model has no output {lacking[0]}")

    def run(feed: Any) -> dict[str, np.ndarray]:
        _ = folder
        for name, value in feed.items():
            kind = MNN.Halide_Type_Int64 if value.dtype == np.int64 else MNN.Halide_Type_Float
            inputs[name].copyFrom(MNN.Tensor(value.shape, kind, value, MNN.Tensor_DimensionType_Caffe))
        network.runSession(session)
        return {name: _of_mnn(MNN, outputs[name]) for name in signature.outputs}

    return run


def _of_mnn(library: Any, tensor: Any) -> np.ndarray:
    shape = tensor.getShape()
    host = library.Tensor(shape, library.Halide_Type_Float, np.zeros(shape, np.float32), library.Tensor_DimensionType_Caffe)
    tensor.copyToHostTensor(host)
    return np.array(host.getData(), np.float32).reshape(shape)


def tract(path: Path, signature: Any, threads: int) -> Engine:  # noqa: ARG001 - it computes in one
    """tract, as it comes for Python; sizes that a model leaves open stay open."""
    import tract as library

    first = library.onnx().load(str(path))
    names = [first.input_name(number) for number in range(first.input_count())]
    ready = first.into_model().into_runnable()

    def run(feed: Any) -> dict[str, np.ndarray]:
        answers = ready.run([feed[name] for name in names])  # in the model's order; names of copies are others
        return {name: answer.to_numpy() for name, answer in zip(signature.outputs, answers, strict=True)}

    return run


def iree(path: Path, signature: Any, threads: int) -> Engine:  # noqa: ARG001
    """IREE: its importer and compiler, then its runtime on the CPU."""
    import iree.runtime as library

    folder = Path(tempfile.mkdtemp())
    tools = Path(sys.executable).parent
    _called(tools / "iree-import-onnx", path, "-o", folder / "model.mlir")
    target = ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=generic")
    _called(tools / "iree-compile", folder / "model.mlir", *target, "-o", folder / "model.vmfb")
    module = library.load_vm_flatbuffer_file(str(folder / "model.vmfb"), driver="local-task")
    name = next(one for one in module.vm_module.function_names if not one.startswith("__") and not one.endswith("$async"))

    def run(feed: Any) -> dict[str, np.ndarray]:
        answers = module[name](*(feed[entry] for entry in _entries(signature)))
        answers = answers if isinstance(answers, tuple | list) else [answers]
        return {output: np.asarray(answer) for output, answer in zip(signature.outputs, answers, strict=True)}

    return run


def _entries(signature: Any) -> list[str]:
    """The inputs in the model's order."""
    return [signature.entry, *([signature.steps] if signature.steps else []), *(signature.states or {})]


def _called(*command: Any) -> None:
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ValueError(f"{Path(command[0]).name}: {' '.join(ended.stderr.split())[-200:]}")


class _quiet:
    """Standard output of a library, which is for results here, goes to standard error."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        self._kept = os.dup(1)
        os.dup2(2, 1)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, 1)
        os.close(self._kept)


def further(kind: Callable[..., Any]) -> tuple[Any, ...]:
    """The programs, each an `EngineKind`."""
    return (
        kind("ONNX Runtime", onnxruntime, "onnxruntime", ("onnxruntime",)),
        kind("MNN", mnn, "MNN", ("mnn",)),
        kind("tract", tract, "tract", ("tract",)),
        kind("IREE", iree, "iree.runtime", ("iree-base-runtime",)),
    )
