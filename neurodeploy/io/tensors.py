"""Tensors in named groups, and all else as JSON in the header, in one safetensors file. Never pickle."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from neurodeploy.io.errors import UserError, field_name
from neurodeploy.io.files import atomic_file
from neurodeploy.io.imports import looking_in
from neurodeploy.io.reading import check_file

Header = TypeVar("Header", bound=BaseModel)


def write(
    path: Path,
    key: str,
    header: BaseModel,
    groups: Mapping[str, Mapping[str, Tensor]],
    *,
    check: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write a file atomically: the one at `path` is always a whole one.

    Args:
        path: of the file.
        key: what kind of file it is; `read` wants the same.
        header: the JSON part.
        groups: group → name → tensor.
        check: given what was written before it takes its place; what it raises leaves the old file.

    Raises:
        UserError, Failure: it cannot be written (see `neurodeploy.io.files.writing`).
    """
    named = {f"{group}/{name}": tensor for group, members in groups.items() for name, tensor in members.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}
    content = safetensors.save(tensors, metadata={key: header.model_dump_json()})
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
        check(temporary)


def header_text(path: Path, key: str) -> str | None:
    """The JSON of a file's header as it stands there; None if it is of another kind.

    Raises:
        UserError: the file is damaged, or no safetensors file.
    """
    check_file(path, "a checkpoint (safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(key)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable checkpoint (safetensors expected): {error}") from None


_FOLDERS_OF_A_RUN = 3
"""`run/seed-0/student`: a module of the user's that a header names may be in one of them."""


@contextmanager
def looking_beside(path: Path) -> Iterator[None]:
    """Inside, modules of the user's that are in the folder of a checkpoint's run can be imported."""
    with looking_in(*path.resolve().parents[:_FOLDERS_OF_A_RUN]):
        yield


def read(path: Path, key: str, parse: Callable[[str], Header]) -> tuple[Header, dict[str, dict[str, Tensor]]]:
    """The header and the groups of a file that `write` wrote.

    Args:
        path: of the file.
        key: what kind of file is wanted.
        parse: makes the header of its JSON.

    Raises:
        UserError: the file is damaged or of another kind, or its header does not fit; the message names the field.
    """
    check_file(path, "a checkpoint (safetensors)")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable checkpoint (safetensors expected): {error}") from None
    if key not in metadata:
        raise UserError(f"{path}: a safetensors file, but not a checkpoint of {key} (no such header)")
    try:
        with looking_beside(path):
            header = parse(metadata[key])
    except ValidationError as error:
        first = error.errors()[0]
        field = field_name(first["loc"]) or "header"
        told = first["msg"].removeprefix("Value error, ")
        version = "" if first["type"] == "value_error" else "; written by another version?"
        raise UserError(f"{path}: header field {field}: {told}{version}") from None
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, member = name.partition("/")
        groups.setdefault(group, {})[member] = tensor
    return header, groups
