"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neurodeploy.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to compute: the GPU if there is one (auto), or the one named."),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the results.", show_default=False)]


def fabric_on(device: str) -> "Fabric":
    """Lightning Fabric on one device.

    Raises:
        UserError: "cuda" was asked for and there is no usable GPU.
    """
    import torch
    from lightning_fabric import Fabric

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no usable GPU found; use --device cpu")
    return Fabric(accelerator=device, devices=1)
