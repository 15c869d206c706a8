"""Compiling a C program with the host's compiler and running it, in a child process that gets little time and memory."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.tensors import SIZES
from neurodeploy_exporters.c.writing import source

COMPILERS = ("cc", "gcc", "clang")
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion")
_COMPILE_SECONDS, _SECONDS = 240, 600
_MEMORY = 4 << 30
_LINE = 300


def compiler() -> str | None:
    """The host's C compiler: that of the environment variable CC, or the first that is installed."""
    named = os.environ.get("CC")
    for name in (named,) if named else COMPILERS:
        path = shutil.which(name)
        if path:
            return path
    return None


NO_COMPILER = "no C compiler found (cc, gcc or clang, or the environment variable CC); install one, and verify again"


@dataclass(frozen=True)
class Limits:
    """Of a child process: seconds of processor time, and bytes of memory (None where the program needs to map more)."""

    seconds: int = _SECONDS
    memory: int | None = _MEMORY


def run_limited(command: Sequence[str], folder: Path, limits: Limits, given: bytes = b"") -> bytes:
    """A command's standard output, in a folder of its own, with an environment that holds the path alone.

    Raises:
        UserError: it failed, or went beyond its limits; one line.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limits.memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))

    environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(folder), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env=environment,
            input=given,
            capture_output=True,
            timeout=4 * limits.seconds,
            preexec_fn=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{Path(command[0]).name}: not done after {4 * limits.seconds} s") from None
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be run ({error.strerror})") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        first = next((line for line in said.splitlines() if "error" in line), said.splitlines()[0])
        raise UserError(f"{Path(command[0]).name}: {''.join(c if c.isprintable() else ' ' for c in first)[:_LINE]}")
    return done.stdout


Answer = tuple[dict[str, NDArray[np.float32]], NDArray[np.float32]]


@contextmanager
def opened(
    program: CProgram, files: Mapping[str, str], *, flags: Sequence[str] = ("-O2",), memory: int | None = _MEMORY
) -> Iterator[Callable[[NDArray[np.float32]], Answer]]:
    """A program, compiled once: samples `[B, …]` or `[T, B, …]` → spikes `[T, B, …]` by layer, and logits `[B, K]`.

    Args:
        program: what the files should be, for their types.
        files: name → text, `model.h` and the C files.
        flags: of the compiler, beside those that every file is compiled with.
        memory: see `Limits`.

    Raises:
        UserError: there is no compiler, the files do not compile, or what runs fails.
    """
    command = compiler()
    if command is None:
        raise UserError(NO_COMPILER)
    with TemporaryDirectory(prefix="neurodeploy-c-") as name:
        folder = Path(name)
        yield compiled(program, files, folder, command, flags, memory)


def compiled(
    program: CProgram,
    files: Mapping[str, str],
    folder: Path,
    command: str,
    flags: Sequence[str] = ("-O2",),
    memory: int | None = _MEMORY,
) -> Callable[[NDArray[np.float32]], Answer]:
    """`opened` in a folder that the caller owns."""
    layers = list(program.spiking.values())
    sizes = ", ".join(str(layer.elements * SIZES[layer.type]) for layer in layers) or "0"
    for file, text in files.items():
        (folder / file).write_text(text, encoding="ascii")
    (folder / "replay.c").write_text(source("replay.c"), encoding="ascii")
    (folder / "trace.h").write_text(
        "void model_trace(int layer, const void *values);\n#define MODEL_TRACE(layer, values) model_trace(layer, values)\n",
        encoding="ascii",
    )
    units = [file for file in files if file.endswith(".c")]
    build = [
        command,
        *WARNINGS,
        *flags,
        "-include",
        "trace.h",
        f"-DREPLAY_LAYER_BYTES={sizes}",
        f"-DREPLAY_INFER(m,input,logits)=model_infer(m,input,{'(int32_t)steps,' if program.steps_vary else ''}logits)",
        "-o",
        "replay",
        *units,
        "replay.c",
    ]
    run_limited(build, folder, Limits(_COMPILE_SECONDS, None))

    def answer(inputs: NDArray[np.float32]) -> Answer:
        timed = program.entrance.timed
        batch, steps = inputs.shape[int(timed)], len(inputs) if timed else program.steps
        if steps > program.steps or (steps != program.steps and not program.steps_vary):
            most = "at most " if program.steps_vary else ""
            raise UserError(
                f"input: {steps} time steps found, {most}{program.steps} expected: the program is proved for no others"
            )
        values = inputs.swapaxes(0, 1).reshape(-1, *inputs.shape[2:]) if timed else inputs
        given = np.ascontiguousarray(program.entrance.integers(values)).tobytes()
        raw = run_limited([str(folder / "replay"), str(steps)], folder, Limits(memory=memory), given)
        return _decoded(program, raw, batch, steps)

    return answer


def _decoded(program: CProgram, raw: bytes, batch: int, steps: int) -> Answer:
    layers = program.spiking
    width = sum(layer.elements * SIZES[layer.type] for layer in layers.values())
    answer = program.answer.size * 4
    expected = batch * (steps * width + answer)
    if len(raw) != expected:
        raise UserError(f"replay: {len(raw)} bytes found, {expected} expected")
    rows = np.frombuffer(raw, np.uint8).reshape(batch, -1)
    kind = "<f4" if program.answer.type == "float" else "<i4"
    logits = program.logits_in_order(np.ascontiguousarray(rows[:, -answer:]).view(kind), steps)
    trains = rows[:, :-answer].reshape(batch, steps, width)
    spikes, begin = {}, 0
    for name, layer in layers.items():
        size = layer.elements * SIZES[layer.type]
        part = np.ascontiguousarray(trains[:, :, begin : begin + size]).reshape(batch * steps, size)
        begin += size
        values = layer.decoded(part.view("<u4" if layer.type == "bits" else np.dtype(layer.type.removesuffix("_t"))))
        spikes[name] = values.reshape(batch, steps, *layer.shape).swapaxes(0, 1)
    return spikes, logits
