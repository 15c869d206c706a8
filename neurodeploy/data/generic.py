"""What the kinds for data of the user's own have in common."""

import os
from collections.abc import Sequence

from pydantic import Field
from torch import Tensor

from neurodeploy.data.dataset import DataSet, NormalizedDataSet, Scale
from neurodeploy.data.samples import Samples, chosen, in_memory
from neurodeploy.data.splitting import train_and_test
from neurodeploy.io.errors import UserError

_MOST_WORKERS = 4
_FEW = 1000  # samples, for which starting workers takes longer than they save


class OwnDataSet(NormalizedDataSet):
    """A kind of data set for data of the user's own.

    Attributes:
        scale: what a byte is worth: "1/256", "1/255" (as torchvision's `ToTensor`) or "1" (0 … 255). Other values are taken as
            they are.
        normalize: see `NormalizedDataSet`.
        test_share: part of the samples of every class that is held out for the test, where there is no test set.
        split_seed: of the choice of those samples.
        workers: processes that read samples ahead, where they are not in memory; none given: one for each core of this process,
            4 at most, and none for fewer than 1,000 samples. They change nothing but the time.
    """

    scale: Scale = "1/256"
    test_share: float = Field(default=0.2, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0, lt=2**63)
    workers: int | None = Field(default=None, ge=0, le=256)

    def split(
        self, samples: Samples, labels: Tensor, names: Sequence[str], origin: object
    ) -> tuple[Samples, Tensor, Samples, Tensor]:
        """Samples and labels of training and test set, of data that have no test set of their own.

        Raises:
            UserError: a class has a single sample.
        """
        scarce = (labels.bincount() == 1).nonzero()
        if len(scarce):
            what = names[int(scarce[0])] if names else f"{int(scarce[0])}"
            raise UserError(f"{origin}: class {what} has one sample, at least 2 expected, one to train and one to test")
        train, test = train_and_test(labels, self.test_share, self.split_seed)
        return chosen(samples, train), labels[train], chosen(samples, test), labels[test]

    def finished(self, data: DataSet) -> DataSet:
        """A data set normalised, with its workers."""
        whole = in_memory(data.train_samples) and in_memory(data.test_samples)
        workers = 0 if whole else self._workers(len(data.train_labels))
        return self.normalized(DataSet(**{**vars(data), "workers": workers}))

    def split_note(self) -> str:
        """How the test set came to be, in words."""
        return f"{100 * self.test_share:g} % of every class held out for the test, seed {self.split_seed}"

    def _workers(self, samples: int) -> int:
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return 0 if samples < _FEW else min(_MOST_WORKERS, max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
