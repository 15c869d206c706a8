"""The multi-step update in C (`native.c`): built once for each machine, in the background, and used as soon as it is there.

Its values are those of `handwritten`, bit for bit: whether and when it takes over changes no result. That is not believed: what
was built is compared with `handwritten` on numbers of all signs before it is used, for every reset and surrogate.

Nothing waits for the compiler, and nothing needs it. Until the library is there, without a compiler, for other dtypes than
float32, for learned constants and inside torch's own compilers the handwritten kernel runs. `neurodeploy doctor` and the log
(logger `neurodeploy`) say which one does, and why.
"""

import atexit
import ctypes
import hashlib
import itertools
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import pi
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neurodeploy.dynamics.kernels import handwritten, memory
from neurodeploy.dynamics.kernels.handwritten import flat, needs_gradient
from neurodeploy.dynamics.kernels.memory import Layout, repeated
from neurodeploy.dynamics.neurons import RESETS, Dynamics, NeuronParameters
from neurodeploy.dynamics.surrogates import (
    ArcTangent,
    FastSigmoid,
    Rectangle,
    Sigmoid,
    StraightThrough,
    Surrogate,
    Triangle,
)
from neurodeploy.io.errors import UserError

SOURCES = tuple(Path(__file__).with_name(name) for name in ("native.c", "bfloat16.c"))
_FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fPIC")
_COMPILERS = ("cc", "gcc", "clang")
_PATIENCE = 120.0  # seconds that a compiler may take before it is ended; some three are usual
_WORTH_THREADS = 1 << 15  # values over all steps: below, waking the other threads takes longer than the work
_BLOCK = 1 << 17  # values of all steps of one block, per thread, where torch does a part of the work
_log = logging.getLogger("neurodeploy")


class _Neuron(ctypes.Structure):
    _fields_ = (
        ("decay", ctypes.c_float),
        ("threshold", ctypes.c_float),
        ("reset", ctypes.c_int32),
        ("surrogate", ctypes.c_int32),
        ("detached", ctypes.c_int32),
        ("a", ctypes.c_float),
        ("b", ctypes.c_float),
    )


_GIVEN = 0  # torch computes the derivative of these surrogates, the rest is done in C


def _neuron(parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool) -> _Neuron:
    kind, a, b = constants_of_surrogate(surrogate)
    return _Neuron(parameters.decay, parameters.threshold, RESETS.index(parameters.reset), kind, detach_reset, a, b)


def constants_of_surrogate(surrogate: Surrogate) -> tuple[int, float, float]:
    """Number in C, and constants; a subclass may have a derivative of its own."""
    kind = type(surrogate)
    if kind is Rectangle:
        return 1, surrogate.width / 2, surrogate.width  # type: ignore[attr-defined]
    if kind is Triangle:
        return 2, surrogate.gamma, 0.0  # type: ignore[attr-defined]
    if kind is ArcTangent:
        return 3, pi / 2 * surrogate.alpha, surrogate.alpha / 2  # type: ignore[attr-defined]
    if kind is FastSigmoid:
        return 4, surrogate.slope, 0.0  # type: ignore[attr-defined]
    return (5, 0.0, 0.0) if kind is StraightThrough else (_GIVEN, 0.0, 0.0)


@dataclass(frozen=True)
class Library:
    """The compiled functions.

    Attributes:
        path: of the file that they are in.
        threaded: they share torch's threads; without, one thread runs them.
    """

    path: Path
    threaded: bool
    _functions: ctypes.CDLL = field(repr=False)

    @classmethod
    def load(cls, path: Path, *, threaded: bool) -> "Library":
        """Load a file that `_compile` made.

        Raises:
            OSError: it cannot be loaded: torch brings no such threads, or it was built for another machine.
        """
        functions = ctypes.CDLL(str(path))
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        neuron, threads = ctypes.POINTER(_Neuron), ctypes.c_int32
        functions.neurodeploy_fire.argtypes = (pointer, number, *(pointer,) * 3, number, number, neuron, threads)
        functions.neurodeploy_back.argtypes = (
            *(pointer, number) * 3,
            *(pointer, pointer, number, pointer, number, number, neuron, threads),
        )
        functions.neurodeploy_bf16_fire.argtypes = (pointer, number, *(pointer,) * 5, *(number,) * 3, pointer, threads)
        functions.neurodeploy_bf16_back.argtypes = (pointer, number, *(pointer,) * 8, *(number,) * 3, pointer, threads)
        most = ctypes.c_float
        functions.neurodeploy_bf16_levels.argtypes = (*(pointer,) * 4, number, number, most, threads)
        functions.neurodeploy_bf16_levels_back.argtypes = (*(pointer,) * 7, number, number, most, threads)
        functions.neurodeploy_bf16_add.argtypes = (*(pointer,) * 4, number, number, threads)
        functions.neurodeploy_bf16_add_back.argtypes = (*(pointer,) * 5, number, number, threads)
        for name in ("fire", "back", "bf16_fire", "bf16_back", "bf16_levels", "bf16_levels_back", "bf16_add", "bf16_add_back"):
            getattr(functions, f"neurodeploy_{name}").restype = None
        return cls(path, threaded, functions)

    @property
    def functions(self) -> ctypes.CDLL:
        """All of them, for `kernels.bfloat16`."""
        return self._functions

    def fire(self, current: Tensor, v0: Tensor, neuron: _Neuron, charged: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`handwritten.fire`."""
        spikes = memory.empty(current.shape, current)
        last = v0.to(current.dtype, copy=True, memory_format=torch.contiguous_format)
        x = _rows(current)
        steps, neurons = x.shape
        where = (x.data_ptr(), x.stride(0), spikes.data_ptr(), _pointer(charged), last.data_ptr())
        self._functions.neurodeploy_fire(*where, steps, neurons, neuron, self._threads(steps * neurons))
        return spikes, last

    def back(
        self,
        charged: Tensor,
        grad_spikes: Tensor | None,
        grad_v: Tensor | None,
        grad_current: Tensor,
        grad_v0: Tensor,
        neuron: _Neuron,
        surrogate: Surrogate,
    ) -> None:
        """The backward pass of `handwritten`, of `[T, N]` and `[N]`; `grad_current` of `[1, N]` is the sum over the steps."""
        steps, neurons = charged.shape
        constant = len(grad_current) != steps
        size = max(1, neurons)
        if constant or neuron.surrogate == _GIVEN:  # torch sums, or derives, a block at a time
            size = max(1, _BLOCK // max(1, steps)) * torch.get_num_threads()
        for start in range(0, neurons, size):
            part = slice(start, start + size)
            h, g = charged[:, part], grad_current[:, part]
            made = torch.empty(h.shape) if constant else g
            slopes = None
            if neuron.surrogate == _GIVEN:
                slopes = surrogate.derivative(h - neuron.threshold, neuron.threshold).contiguous()
            s = None if grad_spikes is None else grad_spikes[:, part]
            sequences = (x for each in (h, s, slopes) for x in (_pointer(each), 0 if each is None else each.stride(0)))
            v, v0 = (None if x is None else x[part] for x in (grad_v, grad_v0))
            where = (_pointer(v), made.data_ptr(), made.stride(0), _pointer(v0))
            self._functions.neurodeploy_back(*sequences, *where, *h.shape, neuron, self._threads(h.numel()))
            if constant:
                torch.sum(made, 0, keepdim=True, out=g)

    def _threads(self, values: int) -> int:
        return torch.get_num_threads() if self.threaded and values >= _WORTH_THREADS else 1


def _rows(x: Tensor) -> Tensor:
    """`[T, …]` → `[T, N]`, a step contiguous; all steps may be the same memory."""
    x = flat(x)
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


class _NativeMultiStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        steps: int,
        v0: Tensor,
        parameters: Dynamics,
        surrogate: Surrogate,
        detach_reset: bool,
        library: Library,
    ) -> tuple[Tensor, Tensor]:
        layout = ctx.layout = Layout.of(current)
        ctx.constant, current = len(current) != steps, layout.lay(current.expand(steps, *current.shape[1:]))
        charged = memory.empty(current.shape, current)
        ctx.neuron, ctx.surrogate = _neuron(parameters, surrogate, detach_reset=detach_reset), surrogate
        ctx.library = library
        spikes, v = library.fire(current, layout.lay(v0), ctx.neuron, charged)
        ctx.save_for_backward(charged)
        ctx.set_materialize_grads(False)  # as in `handwritten`
        return layout.restore(spikes), layout.restore(v)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        (charged,) = ctx.saved_tensors
        layout: Layout = ctx.layout
        grad_spikes, grad_v = layout.lay(grad_spikes), layout.lay(grad_v)
        grad_current = memory.empty((1 if ctx.constant else len(charged), *charged.shape[1:]), charged)
        grad_v0 = charged.new_empty(charged.shape[1:])
        rows = None if grad_spikes is None else _rows(grad_spikes)
        last = None if grad_v is None else grad_v.reshape(-1).contiguous()
        arrays = (flat(charged), rows, last, flat(grad_current), grad_v0.view(-1))
        ctx.library.back(*arrays, ctx.neuron, ctx.surrogate)
        by_v0 = layout.restore(grad_v0) if ctx.needs_input_grad[2] else None
        return layout.restore(grad_current), None, by_v0, None, None, None, None


def suits(current: Tensor, v0: Tensor, parameters: Dynamics) -> bool:
    """Whether the C functions can take these: plain float32 tensors on a CPU, and constants that are numbers."""
    return (
        not memory.is_followed()
        and current.dtype == v0.dtype == torch.float32
        and current.device.type == v0.device.type == "cpu"
        and type(current) is Tensor
        and type(v0) is Tensor
        and not isinstance(parameters.decay, Tensor)
        and not isinstance(parameters.threshold, Tensor)
        and current.numel() > 0
        and v0.shape == current.shape[1:]
    )


def multi_step(
    current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """Same contract, spikes and gradients as `handwritten.multi_step`, which runs what does not suit the functions in C.

    Raises:
        UserError: the functions cannot be had here. Only who asks for this kernel by name gets here without them.
    """
    library = BUILD.result()
    if library is None:
        raise UserError(f"kernel 'native': {BUILD.state}; leave the choice of a kernel out")
    return run(library, current, v0, parameters, surrogate, detach_reset=detach_reset)


def run(
    library: Library, current: Tensor, v0: Tensor, parameters: Dynamics, surrogate: Surrogate, *, detach_reset: bool = False
) -> tuple[Tensor, Tensor]:
    """`multi_step` with these functions."""
    if not suits(current, v0, parameters):
        return handwritten.multi_step(current, v0, parameters, surrogate, detach_reset=detach_reset)
    if not needs_gradient(current, v0):
        layout = Layout.of(current)
        neuron = _neuron(parameters, surrogate, detach_reset=detach_reset)
        spikes, v = library.fire(layout.lay(current), layout.lay(v0), neuron)
        return layout.restore(spikes), layout.restore(v)
    source, settings = repeated(current), (v0, parameters, surrogate, detach_reset, library)
    spikes, v = _NativeMultiStep.apply(current if source is None else source, len(current), *settings)  # type: ignore[no-untyped-call]
    return spikes, v


_ENDING = threading.Event()
"""The interpreter is about to end."""


class _Unavailable(Exception):
    """Why there are no functions."""


class Build:
    """The library of this machine, and how it comes about.

    Attributes:
        state: in words, for the log and for `doctor`.
    """

    def __init__(self) -> None:
        self.state = "not asked for yet"
        self._library: Library | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def now(self) -> Library | None:
        """The library if it is there; the first call starts to build it."""
        if self._thread is None:
            self._start()
        return self._library

    def result(self, seconds: float = _PATIENCE) -> Library | None:
        """The library, for which this may wait; None if there will be none."""
        if self._thread is None:
            self._start()
        if self._thread is not None:
            self._thread.join(seconds)
        return self._library

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self.state = "being built"
                atexit.register(self._end)
                thread = threading.Thread(target=self._work, name="neurodeploy-native-kernel", daemon=True)
                thread.start()
                self._thread = thread

    def _end(self) -> None:
        """A thread that is in the middle of torch when the interpreter goes would end the process with an error."""
        _ENDING.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            library = _made()
            self.state = f"in use ({library.path}{'' if library.threaded else '; on one thread only'})"
            self._library = library
        except _Unavailable as error:
            self.state = f"unavailable: {error}"
        except Exception as error:  # the kernel is a gain of time; no fault of it may end what the user runs
            self.state = f"unavailable: {type(error).__name__}: {error}"
        _log.info("neuron kernel in C: %s", self.state)


BUILD = Build()


def _made() -> Library:
    """Load, or build, and check.

    Raises:
        _Unavailable: with the reason.
    """
    if sys.platform not in ("linux", "darwin"):
        raise _Unavailable(f"it is built on Linux and macOS only, and this is {sys.platform}")
    reasons = []
    for threaded in (True, False):
        try:
            with _file(threaded=threaded) as path:
                library = Library.load(path, threaded=threaded)
        except (OSError, _Unavailable) as error:
            reasons.append(str(error))
            continue
        _check(library)
        return library
    raise _Unavailable(reasons[-1])


class _file:
    """The library's file: the one kept from before, or a new one; kept where that is possible, else gone once it is loaded."""

    def __init__(self, *, threaded: bool) -> None:
        self._threaded, self._folder = threaded, tempfile.TemporaryDirectory(prefix="neurodeploy-kernel-")

    def __enter__(self) -> Path:
        compiler = next((path for name in _COMPILERS if (path := shutil.which(name))), None)
        kept = _kept(compiler, threaded=self._threaded)
        if kept is not None and _is_ours(kept):
            return kept
        if compiler is None:
            raise _Unavailable(f"no C compiler ({', '.join(_COMPILERS)}) on the path")
        made = _compile(compiler, Path(self._folder.name), threaded=self._threaded)
        if kept is None:
            return made
        try:
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = kept.with_name(f"{kept.name}.{os.getpid()}")
            shutil.copyfile(made, beside)
            beside.chmod(0o600)
            beside.replace(kept)
        except OSError:  # a folder that cannot be written: then it is built anew in every process
            return made
        return kept if _is_ours(kept) else made

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._folder.cleanup()


def _kept(compiler: str | None, *, threaded: bool) -> Path | None:
    """Where the library of this source, machine, compiler and torch is kept; None if there is no home."""
    with suppress(RuntimeError, OSError):
        about = (
            *(source.read_bytes() for source in SOURCES),
            _FLAGS,
            threaded,
            compiler,
            torch.__version__,
            *platform.uname()[3:],
            processor(),
        )
        name = hashlib.sha256(repr(about).encode()).hexdigest()[:20]
        return Path("~/.cache/neurodeploy/kernels").expanduser() / f"{name}.so"
    return None


def processor() -> str:
    """What it can, as Linux says it, and what `-march=native` depends on; its name elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")


def _is_ours(path: Path) -> bool:
    """Whether a file is there that nobody else could have written."""
    try:
        found, folder = path.stat(), path.parent.stat()
    except OSError:
        return False
    return all(one.st_uid == os.getuid() and not one.st_mode & 0o022 for one in (found, folder))


def _compile(compiler: str, folder: Path, *, threaded: bool) -> Path:
    """A shared library of the sources.

    Raises:
        _Unavailable: the compiler cannot.
    """
    program, objects = folder / "native.so", [folder / source.with_suffix(".o").name for source in SOURCES]
    # linked without a library of threads: the functions then run on those that torch has loaded, and not beside them
    threads = ("-fopenmp",) if threaded else ()
    late = ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()
    steps = (
        *((compiler, *_FLAGS, *threads, "-c", str(one), "-o", str(made)) for one, made in zip(SOURCES, objects, strict=True)),
        (compiler, "-shared", *late, *map(str, objects), "-o", str(program)),
    )
    for step in steps:
        failed = _run(["nice", *step] if shutil.which("nice") else [*step])
        if failed is not None:
            raise _Unavailable(f"{compiler} {failed}")
    return program


def _run(command: list[str]) -> str | None:
    """Run a compiler until it ends, this process does, or patience does; what went wrong."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as words,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words) as process,
    ):
        began = time.monotonic()
        while process.poll() is None:
            if _ENDING.wait(0.02) or time.monotonic() - began > _PATIENCE:
                process.kill()
        if _ENDING.is_set():
            return "was not waited for: the process ended"
        if not process.returncode:
            return None
        words.seek(0)
        lines = words.read().strip().splitlines() or [f"exit status {process.returncode}"]
        return f"failed: {lines[-1]}" if process.returncode > 0 else f"was ended after {time.monotonic() - began:.0f} s"


def _check(library: Library) -> None:
    """Compare with `handwritten`, bit for bit.

    Raises:
        _Unavailable: they differ.
    """
    for parameters, surrogate, detach, constant in _cases():
        if _ENDING.is_set():
            raise _Unavailable("the process ended")
        found, expected = (
            _answers(step, parameters, surrogate, detach, constant)
            for step in (lambda *a, **k: run(library, *a, **k), handwritten.multi_step)
        )
        for one, other in zip(found, expected, strict=True):
            if not torch.equal(one.view(torch.int32), other.view(torch.int32)):
                what = f"reset {parameters.reset}, {surrogate}, {'detached' if detach else 'attached'}"
                raise _Unavailable(f"it computes other bits than torch here ({what})")


def _cases() -> Iterator[tuple[NeuronParameters, Surrogate, bool, bool]]:
    kinds: tuple[Surrogate, ...] = (Rectangle(0.7), Triangle(), ArcTangent(), FastSigmoid(3.0), StraightThrough(), Sigmoid())
    for reset, surrogate, detach in itertools.product(RESETS, kinds, (False, True)):
        yield NeuronParameters(0.3, 0.7, reset), surrogate, detach, False
    yield NeuronParameters(0.3, 0.7, "hard"), ArcTangent(), False, True


def _answers(step: Any, parameters: NeuronParameters, surrogate: Surrogate, detach: bool, constant: bool) -> list[Tensor]:
    """Spikes, last potential, and gradients; of a number of neurons that fills no block, and no vector of the processor."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float32)

    steps, neurons = 5, 1024 + 13
    x, v0 = drawn(1 if constant else steps, neurons).requires_grad_(), drawn(neurons).requires_grad_()
    with torch.enable_grad():
        current = (x * 1)[0].expand(steps, neurons) if constant else x * 1
        spikes, v = step(current, v0, parameters, surrogate, detach_reset=detach)
        gradients = torch.autograd.grad((spikes, v), (x, v0), (drawn(steps, neurons), drawn(neurons)))
    with torch.no_grad():
        silent, _ = step(x.expand(steps, neurons), v0, parameters, surrogate, detach_reset=detach)
    return [spikes.detach(), v.detach(), *gradients, silent]
