"""Options that several commands share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neurodeploy.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from neurodeploy.recipe import Precision

_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "float16": "16-mixed",
}

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to compute: the GPU if there is one (auto), or the one named."),
]
Kernel = Annotated[
    Literal["reference", "handwritten", "fused", "compiled"] | None,
    typer.Option("--kernel", help="How spiking layers compute; the best one for the device if not given.", show_default=False),
]
Allocator = Annotated[
    Literal["default", "tuned"],
    typer.Option("--allocator", help="Tuned: glibc keeps large blocks; faster on a CPU, never gives memory back (Linux)."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the results.", show_default=False)]


@contextmanager
def computing(kernel: str | None, allocator: str) -> Iterator[None]:
    """Inside, the options `--kernel` and `--allocator` hold; the latter for the rest of the process.

    Raises:
        UserError: one of them is not to be had here.
    """
    from neurodeploy.allocator import tune
    from neurodeploy.kernels import using

    if allocator == "tuned":
        tune()
    with using(kernel) if kernel else nullcontext():
        yield


def processes() -> int:
    """How many processes `torchrun` has started for this command; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def fabric_on(device: str, precision: "Precision" = "float32") -> "Fabric":
    """Lightning Fabric on one device, or on one for each process of `torchrun`.

    Raises:
        UserError: "cuda" was asked for and there is no usable GPU, or float16 without one.
    """
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no usable GPU found; use --device cpu")
    if precision == "float16" and device == "cpu":
        raise UserError('precision = "float16": needs a GPU; use "bfloat16" or "float32" on a CPU')
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
