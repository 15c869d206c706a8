"""Files of weights that others wrote: safetensors, or torch's own format read with weights only; put into a module strictly."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from neurodeploy.io.errors import UserError, printable
from neurodeploy.io.files import sha256
from neurodeploy.io.reading import check_file

_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")
_PREFIXES = ("module.", "_orig_mod.")
_OUR_GROUP = "network/"
_TORCH = (b"PK\x03\x04", b"\x80")
"""First bytes of what `torch.save` writes: a zip archive, or the pickle of torch before 1.6."""


@dataclass(frozen=True)
class Weights:
    """The tensors of a file.

    Attributes:
        path: of the file.
        tensors: name → tensor, on the CPU.
        statements: what was done to find them, a sentence each; worth saying.
        sha256: of the file's bytes, hexadecimal.
    """

    path: Path
    tensors: dict[str, Tensor]
    statements: tuple[str, ...]
    sha256: str

    def put_into(self, module: nn.Module, *, name: str) -> None:
        """Give a module these weights, each of them, and no others.

        The counter of batches of a batch norm may be missing: files older than it lack it, and nothing is computed from it.

        Args:
            module: left as it is if anything is at fault.
            name: of the module, for the message.

        Raises:
            UserError: a tensor is missing, extra, of another shape or kind, or holds values that are not finite; the message
                names the first one.
        """
        wanted = module.state_dict()
        missing = [key for key in wanted if key not in self.tensors and not key.endswith("num_batches_tracked")]
        extra = [key for key in self.tensors if key not in wanted]
        if missing or extra:
            raise UserError(f"{self.path}: {_at_odds(missing, extra, len(wanted), name)}")
        for key, tensor in self.tensors.items():
            own = wanted[key]
            if tensor.shape != own.shape:
                found, expected = list(tensor.shape), list(own.shape)
                raise UserError(f"{self.path}: tensor {key}: shape {found} found, {expected} expected by {name}")
            if tensor.is_floating_point() != own.is_floating_point():
                raise UserError(f"{self.path}: tensor {key}: {tensor.dtype} found, {own.dtype} expected by {name}")
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise UserError(f"{self.path}: tensor {key} holds values that are not finite; take another file")
        module.load_state_dict(wanted | self.tensors)


def _at_odds(missing: list[str], extra: list[str], count: int, name: str) -> str:
    """What a file lacks and has too much; both, since a renamed tensor is one of each."""
    parts = []
    if missing:
        parts.append(f"tensor {missing[0]} is missing ({len(missing)} of the {count} of {name} are)")
    if extra:
        parts.append(f"tensor {printable(extra[0])} is none of {name}'s ({len(extra)} such)")
    return f"{'; '.join(parts)}; weights of the same module expected"


def read_weights(path: Path) -> Weights:
    """The tensors of a safetensors file, of a state dict that `torch.save` wrote, or of a checkpoint of this toolkit.

    A state dict may be nested in the file under "state_dict", "model_state_dict", "model", "net" or "network". The prefixes
    "module." (of `nn.DataParallel`) and "_orig_mod." (of `torch.compile`) are removed where all names have them.

    Raises:
        UserError: there is no such file, it is none of these, or a pickle that holds more than tensors.
    """
    check_file(path, "a file of weights (safetensors, or a state dict)")
    try:
        with path.open("rb") as file:
            begin = file.read(4)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; a file of weights (safetensors, or a state dict) expected") from None
    statements: list[str] = []
    if begin.startswith(_TORCH) and path.suffix != ".safetensors":
        tensors = _state_dict(path, statements)
    else:
        tensors = _safetensors(path, statements)
    if not tensors:
        raise UserError(f"{path}: holds no tensor; weights expected")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            statements.append(f"the prefix {prefix!r} of all names was removed")
    return Weights(path, tensors, tuple(statements), sha256(path))


def _safetensors(path: Path, statements: list[str]) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            ours = "neurodeploy" in (file.metadata() or {})
            names = [name for name in file.keys() if not ours or name.startswith(_OUR_GROUP)]  # noqa: SIM118 - not a dict
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: neither safetensors nor a state dict of torch.save: {printable(str(error))}") from None
    if ours:
        statements.append("a checkpoint of neurodeploy, of which the weights alone were taken")
    return {name.removeprefix(_OUR_GROUP): tensor for name, tensor in tensors.items()} if ours else tensors


def _state_dict(path: Path, statements: list[str]) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path}: a pickle that holds more than tensors, which could run any code when it is read; refused: save "
            "module.state_dict() with safetensors.torch.save_file"
        ) from None
    except Exception as error:  # a damaged archive may end in anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not readable as a state dict of torch.save: {printable(reason)}") from None
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            statements.append(f"the state dict under {key!r} was taken")
            break
    return _only_tensors(path, content)


def _only_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: a {type(content).__name__} found, a state dict (names and tensors) expected")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            what = f"a {type(value).__name__} under {printable(str(name))!r}"
            raise UserError(f"{path}: {what} found, a state dict (names and tensors alone) expected")
    return dict(content)
