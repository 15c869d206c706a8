"""Layers that refuse, by name, samples whose axes or resolution do not fit the network."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from neurodeploy.dynamics.layers import AvgPool2d
from neurodeploy.io.errors import UserError


class ExpectAxes(nn.Identity):
    """Passes what the entry layer makes of samples on unchanged, if it has the network's axes. Traced to nothing.

    Args:
        axes: 1 for sequences `[T, B, C, L]`, 2 for images `[T, B, C, H, W]`.
    """

    def __init__(self, axes: Literal[1, 2]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, L]` or `[T, B, C, H, W]`, returned as it is.

        Raises:
            UserError: the samples have other axes.
        """
        check_axes(x.shape[2:], self.axes)
        return x

    def extra_repr(self) -> str:
        return f"axes={self.axes}"


class ExpectSize(nn.Identity):
    """Passes samples of one resolution on unchanged; a network whose linear layers read pixels needs it. Traced to nothing.

    Args:
        size: (H, W).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` or event frames `[B, T, C, H, W]`, returned as they are.

        Raises:
            UserError: H or W differ, or the samples are sequences.
        """
        check_axes(x.shape[1 if x.ndim < 5 else 2 :], 2)
        if tuple(x.shape[-2:]) != self.size:
            found, expected = "×".join(map(str, x.shape[-2:])), "×".join(map(str, self.size))
            raise UserError(f"samples of {found} pixels found, {expected} expected; set network.size to that of the data")
        return x

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Halve(AvgPool2d):
    """Average pool over windows of 2×2 that do not overlap; an odd side loses its last row or column.

    Args:
        layer: its name in the network, for the error message.
        even: refuse odd sides: a strided convolution beside the pool rounds them up.
    """

    def __init__(self, layer: str, *, even: bool = False) -> None:
        super().__init__(2)
        self.layer = layer
        self.even = even

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, H, W]` → `[T, B, C, ⌊H/2⌋, ⌊W/2⌋]`.

        Raises:
            UserError: a side is 1, or odd where it must not be.
        """
        check_halving(self.layer, x.shape[-2], x.shape[-1], even=self.even)
        return super().forward(x)


def check_axes(shape: Sequence[int], axes: Literal[1, 2]) -> None:
    """Whether samples of a shape, without time and batch, are what a network over sequences or images reads.

    Raises:
        UserError: they are not; says which layout of the data would be.
    """
    if len(shape) != axes + 1:
        expected, layout = ("(C, L)", "sequence") if axes == 1 else ("(C, H, W)", "image")
        raise UserError(
            f"samples of shape {tuple(shape)} found, {expected} expected by this network; "
            f'set data.layout = "{layout}" where the data set has layouts, or take a network of another kind'
        )


def check_halving(layer: str, height: int, width: int, *, even: bool = False) -> None:
    """Whether a 2×2 pool has something to halve.

    Raises:
        UserError: it has not; names the layer.
    """
    if min(height, width) < 2:
        raise UserError(
            f"layer {layer}: a resolution of {height}×{width} is left for its average pool of 2×2; "
            "take larger samples, or a network that halves them less often"
        )
    if even and (height % 2 or width % 2):
        raise UserError(
            f"layer {layer}: a resolution of {height}×{width} found, even sides expected; pad the samples, or set "
            'network.shortcut = "conv"'
        )
