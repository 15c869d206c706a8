"""ONNX Runtime, which is loaded only here and only when needed, and where it computes."""

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from neurodeploy.io.errors import UserError

CLASH = "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall both, then install one"
_NAMES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TensorFloat-32 rounds the factors of a product to 10 bits: sums on the exact grid would not be exact
_OPTIONS: dict[str, dict[str, Any]] = {"CUDAExecutionProvider": {"use_tf32": 0}}


def onnxruntime() -> Any:
    """The module.

    Raises:
        UserError: it is not installed, or is damaged because two packages have written it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # some builds write an identifier of the machine and send it home
    try:
        import onnxruntime
    except ImportError:
        if clashing():
            raise UserError(f"ONNX Runtime cannot be loaded: {CLASH}") from None
        raise UserError('ONNX Runtime is not installed; install it with: pip install "neurodeploy[onnx]"') from None
    return onnxruntime


def clashing() -> bool:
    """Whether both packages that hold the module are installed."""
    return _installed("onnxruntime") and _installed("onnxruntime-gpu")


def chosen(runtime: Any, providers: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """ONNX Runtime's names and options of `providers`: "cpu", "cuda", or names of its own.

    Raises:
        UserError: one of them is not there; ONNX Runtime itself would silently take the CPU.
    """
    available = runtime.get_available_providers()
    names = [_NAMES.get(provider, provider) for provider in providers]
    for given, name in zip(providers, names, strict=True):
        if name not in available:
            raise UserError(f"execution provider {given}: not available; {_remedy(name, available)}")
    return [(name, _OPTIONS.get(name, {})) for name in names]


def check_started(asked: Sequence[tuple[str, dict[str, Any]]], started: Sequence[str]) -> None:
    """Hold the providers that a session has against those that were asked for.

    Raises:
        UserError: one is lacking: its libraries or its device are not there.
    """
    for name, _ in asked:
        if name not in started:
            raise UserError(
                f"execution provider {name}: could not be started, its libraries or a device are missing; "
                'pip install "neurodeploy[onnx-gpu]" brings the libraries of CUDA, or take the provider "cpu"'
            )


def _remedy(name: str, available: Sequence[str]) -> str:
    there = f"there are: {', '.join(available)}"
    if name != _NAMES["cuda"]:
        return there
    remedy = CLASH if clashing() else 'for CUDA pip uninstall onnxruntime, then pip install "neurodeploy[onnx-gpu]"'
    return f"{there}; {remedy}"


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
