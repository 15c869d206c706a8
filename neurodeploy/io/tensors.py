"""Tensors in named groups, and all else as JSON in the header, in one safetensors file. Never pickle."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_file

Header = TypeVar("Header", bound=BaseModel)


def write(path: Path, key: str, header: BaseModel, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write a file atomically: the one at `path` is always a whole one.

    Args:
        path: of the file.
        key: what kind of file it is; `read` wants the same.
        header: the JSON part.
        groups: group → name → tensor.

    Raises:
        UserError, Failure: it cannot be written (see `neurodeploy.io.files.writing`).
    """
    named = {f"{group}/{name}": tensor for group, members in groups.items() for name, tensor in members.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}
    content = safetensors.save(tensors, metadata={key: header.model_dump_json()})
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def read(path: Path, key: str, parse: Callable[[str], Header]) -> tuple[Header, dict[str, dict[str, Tensor]]]:
    """The header and the groups of a file that `write` wrote.

    Args:
        path: of the file.
        key: what kind of file is wanted.
        parse: makes the header of its JSON.

    Raises:
        UserError: the file is damaged or of another kind, or its header does not fit; the message names the field.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable checkpoint (safetensors expected): {error}") from None
    if key not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a checkpoint of {key} (no such header)")
    try:
        header = parse(metadata[key])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "header"
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: header field {field}: {reason}; written by another version?") from None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, member = name.partition("/")
        groups.setdefault(group, {})[member] = tensor
    return header, groups
