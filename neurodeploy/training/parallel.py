"""Several processes that train one network, and the random numbers that each draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor


def share(piece: int, fabric: Fabric, batch: int) -> tuple[Tensor, float]:
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
    mine = torch.arange(fabric.global_rank, piece, fabric.world_size)
    return mine, len(mine) * fabric.world_size / batch


def total(values: Tensor, fabric: Fabric) -> Tensor:
    """Sum over the processes."""
    if fabric.world_size == 1:
        return values
    summed = fabric.all_reduce(values, reduce_op="sum")
    assert isinstance(summed, Tensor)
    return summed


def leave(fabric: Fabric) -> None:
    """End the group of processes that `fabric.launch()` joined: its threads, if left to the interpreter's end, may abort it."""
    if fabric.world_size > 1 and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def determined(*parts: object) -> Iterator[None]:
    """Torch's random generators seeded by `parts` inside, and left as they were outside."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest[:7], "big"))
        yield
