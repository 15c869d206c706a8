"""A data set held in memory as plain tensors: what every loader of this folder returns."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class DataSet:
    """Labelled samples, split into training and test.

    Attributes:
        name: as reports print it.
        train_samples, test_samples: float32 images `[N, C, H, W]`, sequences of features `[N, C, L]`, or event frames
            `[N, T, C, H, W]` if `timed`.
        train_labels, test_labels: int64 `[N]`, 0 … classes − 1.
        classes: K.
        note: origin and split in one sentence.
        timed: the samples have a time axis of their own, one event frame per time step.

    Values are multiples of 2⁻⁸ between −1 and 1, so that sums over them can be exact (see `neurodeploy.graph.grid`).
    """

    name: str
    train_samples: Tensor
    train_labels: Tensor
    test_samples: Tensor
    test_labels: Tensor
    classes: int
    note: str
    timed: bool = False

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """`(C, H, W)` or `(C, L)`; of one time step if `timed`."""
        return tuple(self.train_samples.shape[2 if self.timed else 1 :])

    def sequences(self, samples: Tensor) -> Tensor:
        """Samples as a graph takes them: `[T, N, …]` if `timed`, unchanged if not."""
        return samples.transpose(0, 1).contiguous() if self.timed else samples

    @property
    def steps(self) -> int | None:
        """T if `timed`, None for static samples."""
        return int(self.train_samples.shape[1]) if self.timed else None
