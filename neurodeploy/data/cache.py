"""Prepared tensors kept beside the data: safetensors, never pickle, and never trusted when damaged."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from neurodeploy.errors import Failure, UserError
from neurodeploy.files import atomic_file

FOLDER = "prepared"
_FORMAT = 1  # raise it whenever prepared values change


def prepared(
    folder: Path, settings: Mapping[str, object], files: Sequence[Path], build: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """What `build` makes of some files, from the cache if the same was built before.

    The cache lies in `folder/prepared`. Its name holds a fingerprint of the settings and of every source file (path, size and
    time of change), its header the SHA-256 of the tensors. In a folder that cannot be written, nothing is kept.

    Args:
        folder: of the data set.
        settings: everything but the files that the tensors depend on, as JSON values; `kind` names the cache file.
        files: the source files below `folder`, in the order in which `build` reads them.
        build: reads them.

    Raises:
        UserError: a source file is missing, or whatever `build` finds wrong with it.
        Failure: the disk is full.
    """
    key = _fingerprint(folder, settings, files)
    path = folder / FOLDER / f"{settings['kind']}-{key[:16]}.safetensors"
    kept = _read(path, key)
    if kept is not None:
        return kept
    built = {name: tensor.contiguous() for name, tensor in build().items()}
    _keep(path, key, built)
    return built


def _fingerprint(folder: Path, settings: Mapping[str, object], files: Sequence[Path]) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT, settings], sort_keys=True).encode())
    for path in files:
        try:
            facts = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); put the official file there") from None
        digest.update(f"{path.relative_to(folder)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """The kept tensors; None if there are none, or they are not what was written."""
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError):
        return None
    return tensors if header == {"key": key, "content": _digest(tensors)} else None


def _keep(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    try:
        with atomic_file(path) as temporary:
            try:
                save_file(dict(tensors), temporary, metadata={"key": key, "content": _digest(tensors)})
            except SafetensorError as error:
                raise Failure(f"{path}: not written ({error}); free some space or choose another place") from None
    except UserError:
        return  # a folder that this user may only read


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().reshape(-1).data)
    return digest.hexdigest()
