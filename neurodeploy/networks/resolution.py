"""Layers that refuse, by name, samples whose resolution does not fit the network."""

from torch import Tensor, nn

from neurodeploy.errors import UserError
from neurodeploy.layers import AvgPool2d


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
            UserError: H or W differ.
        """
        if tuple(x.shape[-2:]) != self.size:
            found, expected = "×".join(map(str, x.shape[-2:])), "×".join(map(str, self.size))
            raise UserError(f"samples of {found} pixels found, {expected} expected; set network.size to that of the data")
        return x

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Halve(AvgPool2d):
    """Average pool over windows of 2×2 that do not overlap; an odd side loses its last row or column.

    Args:
        place: name of the layer in the network, for the error message.
        even: refuse odd sides: a strided convolution beside the pool rounds them up.
    """

    def __init__(self, place: str, *, even: bool = False) -> None:
        super().__init__(2)
        self.place = place
        self.even = even

    def forward(self, x: Tensor) -> Tensor:
        """`[T, B, C, H, W]` → `[T, B, C, ⌊H/2⌋, ⌊W/2⌋]`.

        Raises:
            UserError: a side is 1, or odd where it must not be.
        """
        check_halving(self.place, x.shape[-2], x.shape[-1], even=self.even)
        return super().forward(x)


def check_halving(place: str, height: int, width: int, *, even: bool = False) -> None:
    """Whether a 2×2 pool has something to halve.

    Raises:
        UserError: it has not; names the layer.
    """
    if min(height, width) < 2:
        raise UserError(
            f"layer {place}: a resolution of {height}×{width} is left for its average pool of 2×2; "
            "take larger samples, or a network that halves them less often"
        )
    if even and (height % 2 or width % 2):
        raise UserError(
            f"layer {place}: a resolution of {height}×{width} found, even sides expected; pad the samples, or set "
            'network.shortcut = "conv"'
        )
