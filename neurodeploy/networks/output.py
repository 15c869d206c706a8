"""What every network of the toolkit answers, so that each loss term finds what it needs by name."""

from typing import NamedTuple

from torch import Tensor


class NetworkOutput(NamedTuple):
    """Answer of a network for a batch of B samples.

    Attributes:
        logits: `[B, K]`, the mean over time of `step_logits`.
        step_logits: `[T, B, K]`.
        features: `[T, B, F]`, what the classifier reads.
        taps: activation layer name → its output `[T, B, …]`, in the order of depth; teacher and student share the names.
    """

    logits: Tensor
    step_logits: Tensor
    features: Tensor
    taps: dict[str, Tensor]
