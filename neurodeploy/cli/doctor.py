"""What is installed, what is missing, and what that means."""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import typer
from rich.table import Table

from neurodeploy.cli.choices import AsJson
from neurodeploy.cli.console import out
from neurodeploy.io.errors import UserError

EXAMPLE = "neurodeploy doctor"

_REQUIRED = (
    "torch",
    "numpy",
    "scipy",
    "onnx",
    "h5py",
    "nir",
    "safetensors",
    "lightning-fabric",
    "pydantic",
    "matplotlib",
    "scikit-learn",
    "pooch",
    "pillow",
    "tensorboardX",
)
_OPTIONAL = {
    "onnxruntime": 'verify and ONNX accuracy; pip install "neurodeploy[onnx]"',
    "onnxruntime-gpu": 'the same on NVIDIA GPUs; pip install "neurodeploy[onnx-gpu]"',
    "optuna": 'sweep; pip install "neurodeploy[sweep]"',
    "model-signing": 'sign, verify --identity; pip install "neurodeploy[sign]"',
    "nvidia-ml-py": 'energy --measure on NVIDIA GPUs; pip install "neurodeploy[measure]"',
    "pandas": "energy reports as data frames",
    "triton": "the fused kernel on NVIDIA GPUs; comes with torch for CUDA",
}


def command(as_json: AsJson = False) -> None:
    import torch

    from neurodeploy.dynamics.kernels import bfloat16, native
    from neurodeploy_exporters.onnx.providers import CLASH
    from neurodeploy_exporters.target import find, names

    installed = {name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)}
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    compiler = shutil.which("g++") or shutil.which("clang++")
    native.BUILD.result()
    faults = [f"{name} is missing" for name in _REQUIRED if installed[name] is None]
    if installed["onnxruntime"] and installed["onnxruntime-gpu"]:
        faults.append(CLASH)
    for name in names():
        try:
            find(name)
        except UserError as error:
            faults.append(str(error))
    if as_json:
        found = {
            "packages": installed,
            "gpu": gpu,
            "compiler": compiler,
            "native_kernel": native.BUILD.state,
            "bfloat16": bfloat16.hardware(),
            "targets": names(),
            "problems": faults,
        }
        out.print_json(json.dumps({"python": platform.python_version(), **found}))
    else:
        _show(installed, gpu, _neurons(native.BUILD.state), _bfloat16(bfloat16.hardware()), compiler, names(), faults)
    if faults:
        raise typer.Exit(1)


def _show(
    installed: Mapping[str, str | None],
    gpu: str | None,
    neurons: str,
    bfloat16: str,
    compiler: str | None,
    targets: Sequence[str],
    faults: Sequence[str],
) -> None:
    table = Table("package", "version", "note")
    for name in _REQUIRED:
        table.add_row(name, installed[name] or "missing", "" if installed[name] else "required: reinstall neurodeploy")
    for name, use in _OPTIONAL.items():
        table.add_row(name, installed[name] or "not installed", f"optional: {use}")
    out.print(table)
    out.print(f"GPU: {gpu or 'none found, training runs on the CPU'}")
    out.print(f"neurons on the CPU: {neurons}")
    out.print(f"bfloat16 on the CPU: {bfloat16}")
    out.print(f"C++ compiler for --kernel compiled: {compiler or 'none found'}")
    out.print(f"export targets: {', '.join(targets)}")
    if not installed["onnxruntime"] and not installed["onnxruntime-gpu"]:
        out.print('note: without ONNX Runtime, bundles can be exported but not verified; pip install "neurodeploy[onnx]"')
    for fault in faults:
        out.print(f"problem: {fault}")
    if not faults:
        out.print("no problems found")


def _neurons(state: str) -> str:
    """Which kernel runs, and why."""
    return f"kernel {'native' if state.startswith('in use') else 'handwritten'}; native is {state}"


def _bfloat16(how: str | None) -> str:
    """Whether training in it is worth while."""
    if how is None:
        return "this processor does not say that it multiplies it; train in float32, the default"
    return f'{how}; precision = "bfloat16" in a recipe trains spiking twins and networks of few levels faster'


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
