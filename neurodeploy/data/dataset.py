"""A data set held in memory as plain tensors: what every loader of this folder returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class DataSet:
    """Labelled samples, split into training and test.

    Attributes:
        name: as reports print it.
        train_samples, test_samples: float32 `[N, C, H, W]`.
        train_labels, test_labels: int64 `[N]`, 0 … classes − 1.
        classes: K.
        note: origin and split in one sentence.
    """

    name: str
    train_samples: Tensor
    train_labels: Tensor
    test_samples: Tensor
    test_labels: Tensor
    classes: int
    note: str

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)`."""
        return tuple(self.train_samples.shape[1:])
