"""Handwritten digits that ship with scikit-learn: 1,797 real 8×8 images (UCI, Alpaydin & Kaynak 1998)."""

from typing import Literal

import numpy as np
import torch

from neurodeploy.data.dataset import DataSet, NormalizedDataSet

_TEST_SAMPLES = 500
_SPLIT_SEED = 1998


class Digits(NormalizedDataSet):
    """`kind = "digits"`: 1,297 training and 500 test images, stratified by class, one fixed split.

    Pixels are multiples of 1/16 from 0 to 1, exactly representable in binary.

    Attributes:
        normalize, held_out_share: see `NormalizedDataSet`.
    """

    kind: Literal["digits"] = "digits"

    def load(self) -> DataSet:
        from sklearn.datasets import load_digits  # seconds of imports, for this data set alone
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        samples = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        train_x, test_x, train_y, test_y = train_test_split(
            samples, labels.astype(np.int64), test_size=_TEST_SAMPLES, random_state=_SPLIT_SEED, stratify=labels
        )
        return self.normalized(
            DataSet(
                name="digits",
                train_samples=torch.from_numpy(train_x),
                train_labels=torch.from_numpy(train_y),
                test_samples=torch.from_numpy(test_x),
                test_labels=torch.from_numpy(test_y),
                classes=10,
                note="scikit-learn handwritten digits, 8×8; fixed stratified split, 1,297 training and 500 test images",
            )
        )
