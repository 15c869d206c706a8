"""Where the code of public models is: cloned into a folder outside of this repository at a fixed commit, never copied here."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.nn.init import trunc_normal_


class Unavailable(Exception):
    """Why a model cannot be had."""


@dataclass(frozen=True)
class Repository:
    """A public repository.

    Attributes:
        name: owner and name on GitHub.
        commit: that is checked out.
    """

    name: str
    commit: str

    def fetched(self, folder: Path) -> Path:
        """The repository in its place below `folder`, cloned if it is not there.

        Raises:
            Unavailable: it cannot be cloned.
        """
        path = folder / self.name.replace("/", "+")
        if path.is_dir():
            return path
        url, partial = f"https://github.com/{self.name}", path.with_suffix(".partial")
        for command in (
            ["clone", "--quiet", "--no-checkout", url, str(partial)],
            ["-C", str(partial), "checkout", "--quiet", self.commit],
        ):
            done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"git ends with {done.returncode}"]
                raise Unavailable(f"{url}: {lines[-1]}")
        partial.rename(path)
        return path


SPIKFORMER = Repository("ZK-Zhou/spikformer", "621268981827af47aa666c1b5f774de4281d90ad")
SPIKINGFORMER = Repository("zhouchenlin2096/Spikingformer", "4378623b82bb1999b137244950ad648566e148fd")
QKFORMER = Repository("zhouchenlin2096/QKFormer", "c2a00e8e54538e76f5954614a60c1d53824bbee9")
SPIKE_DRIVEN = Repository("BICLab/Spike-Driven-Transformer", "3faa82272eb499e4d56ea77707d4536e7c69a54b")
SEW_RESNET = Repository("fangwei123456/Spike-Element-Wise-ResNet", "cfc547c5e8196b1a16ebc596509b4dffea7c306f")
NEUROBENCH = Repository("NeuroBench/neurobench", "e521c28f5798cb40bb9423758bf066dad53fe070")


def module_of(path: Path) -> ModuleType:
    """A file of Python, imported with its folder on the path; SpikingJelly's neurons run in torch, not in CuPy.

    Raises:
        Unavailable: the file is missing, or needs what is not installed.
    """
    name = f"reference_{path.parent.name}_{path.stem}".replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Unavailable(f"{path.name}: not in the repository any more")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # timm's registry looks its functions up there
    with _beside(path.parent), _without_training(), _in_torch():
        try:
            spec.loader.exec_module(module)
        except ImportError as error:
            raise Unavailable(f"{path.name}: {error}") from None
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Modules beside a file, and in the folder above it, can be imported."""
    paths = [str(folder), str(folder.parent)]
    sys.path[:0] = paths
    try:
        yield
    finally:
        del sys.path[: len(paths)]


@contextmanager
def _without_training() -> Iterator[None]:
    """What files of models import for training alone is empty; of timm, its few functions that make models are here.

    timm itself needs torchvision, and that the very build of torch that it was made for.
    """
    names = ("timm.models.layers", "timm.models.registry", "timm.models.vision_transformer", "timm.models", "timm")
    made = {name: ModuleType(name) for name in ("torchaudio", "tqdm", *names)}
    made["tqdm"].__dict__["tqdm"] = None
    made["timm.models"].__dict__["create_model"] = None
    made["timm.models.layers"].__dict__.update(to_2tuple=_pair, trunc_normal_=trunc_normal_, DropPath=_no_drop_path)
    made["timm.models.registry"].__dict__["register_model"] = _as_it_is
    made["timm.models.vision_transformer"].__dict__["_cfg"] = dict
    made["spikingjelly.cext"] = ModuleType("spikingjelly.cext")
    made["spikingjelly.cext.neuron"] = importlib.import_module("spikingjelly.clock_driven.neuron")  # the same, without CUDA
    made["spikingjelly.cext"].__dict__["neuron"] = made["spikingjelly.cext.neuron"]
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _no_drop_path(probability: float) -> nn.Module:
    """No layers are dropped in evaluation."""
    del probability
    return nn.Identity()


def _as_it_is(function: Any) -> Any:
    return function


@contextmanager
def _in_torch() -> Iterator[None]:
    """Neurons that ask for CuPy compute the same in torch, also those that are made after the import."""
    from spikingjelly.clock_driven import neuron

    for name in ("MultiStepLIFNode", "MultiStepParametricLIFNode", "MultiStepIFNode"):
        kind = getattr(neuron, name)
        if not hasattr(kind, "made_in_torch"):
            kind.__init__ = _torch_alone(kind.__init__)
            kind.made_in_torch = True
    yield


def _torch_alone(made: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **{**kwargs, "backend": "torch"})

    return init
