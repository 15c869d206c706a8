"""How a static sample becomes a sequence of `T` time steps."""

from torch import Tensor, nn

from neurodeploy.errors import UserError


class DirectEncoding(nn.Module):
    """Direct coding: the same value at every time step, `x[t] = x` for t = 1 … T.

    It may stand after the first synapse layer: a constant input makes a constant current, which is then computed only
    once per sample.

    Args:
        steps: T.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise UserError(f"steps: {steps} found, at least 1 expected")
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """`[1, B, …]` → `[T, B, …]` (a view)."""
        if x.shape[0] != 1:
            raise UserError(f"direct encoding: {x.shape[0]} time steps found at its input, a static sample (1) expected")
        return x.expand(self.steps, *x.shape[1:])

    def extra_repr(self) -> str:
        return f"steps={self.steps}"
