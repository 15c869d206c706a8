"""Where to train: on one device or in several processes, and the random numbers that each draws."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from warnings import warn

import torch
import torch.distributed as dist
from torch import Tensor

from neurodeploy.dynamics.kernels.bfloat16 import hardware
from neurodeploy.io.errors import Notice, UserError
from neurodeploy.recipe import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def share(piece: int, fabric: "Fabric", batch: int) -> tuple[Tensor, float]:
    """This process's part of a piece of a batch, as positions in the piece, and the factor of its mean loss.

    With these factors the gradients, summed over pieces and averaged over processes, are those of the mean loss over the whole
    batch. A piece with fewer samples than there are processes is computed by all of them.

    Args:
        piece: its number of samples.
        fabric: knows this process and how many there are.
        batch: samples of the whole batch.
    """
    if piece < fabric.world_size:
        return torch.arange(piece), piece / batch
    # the processes' gradients are averaged: the factor undoes their number and weighs unequal shares
    mine = torch.arange(fabric.global_rank, piece, fabric.world_size)
    return mine, len(mine) * fabric.world_size / batch


def total(values: Tensor, fabric: "Fabric") -> Tensor:
    """Sum over the processes."""
    if fabric.world_size == 1:
        return values
    summed = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(summed, Tensor)
    return summed


def leave(fabric: "Fabric") -> None:
    """End the group of processes that `fabric.launch()` joined: its threads, if left to the interpreter's end, may abort it."""
    if fabric.world_size > 1 and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def determined(*parts: object) -> Iterator[None]:
    """Torch's random generators seeded by `parts` inside, and left as they were outside."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest[:7], "big"))  # below 2⁵⁶: torch takes 64 bits
        yield


_PRECISIONS: dict[Precision, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


def processes() -> int:
    """How many processes `torchrun` has started for this command; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def device_on(device: str) -> torch.device:
    """The device of this process: "cpu", "cuda", or the GPU if there is one ("auto").

    Raises:
        UserError: "cuda" was asked for and there is no usable GPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: no usable GPU found; use the device cpu")
    return torch.device(device, int(os.environ.get("LOCAL_RANK", "0"))) if device == "cuda" else torch.device(device)


def fabric_on(device: str, precision: Precision = "float32") -> "Fabric":
    """Lightning Fabric on one device, or on one for each process of `torchrun`.

    Raises:
        UserError: "cuda" was asked for and there is no usable GPU, or float16 without one.
    """
    from lightning_fabric import Fabric  # seconds of imports, which commands that train nothing never pay
    from lightning_fabric.strategies.ddp import DDPStrategy

    device = device_on(device).type
    if precision == "float16" and device == "cpu":
        raise UserError('precision = "float16": needs a GPU; use "bfloat16" or "float32" on a CPU')
    if precision == "bfloat16" and device == "cpu" and hardware() is None:
        what = "this processor is not known to multiply bfloat16, and then takes longer than in float32"
        warn(f'precision = "bfloat16": {what}', Notice, stacklevel=2)
    if processes() == 1:
        return Fabric(accelerator=device, devices=1, precision=_PRECISIONS[precision])
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=processes() // local,
        strategy=DDPStrategy(process_group_backend="nccl" if device == "cuda" else "gloo"),
        precision=_PRECISIONS[precision],
    )
    fabric.launch()
    return fabric
