"""Data sets of the user's own in the format of MNIST: other sizes, other numbers of classes, other names."""

import gzip

import numpy as np
import pytest
import torch

from neurodeploy.data import IdxFiles
from neurodeploy.io.errors import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 16, 16)).astype(np.uint8)
LABELS = (np.arange(60) % 12).astype(np.uint8)


def written(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(written(IMAGES[:48]))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(written(LABELS[:48])))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(written(IMAGES[48:]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(written(LABELS[48:]))
    return tmp_path


def test_images_of_any_size_and_any_number_of_classes_are_read(folder):
    data = IdxFiles(folder=folder).load()
    assert (data.sample_shape, data.classes, data.name) == ((1, 16, 16), 12, folder.name)
    assert torch.equal(data.train_samples[:], torch.from_numpy(IMAGES[:48] / np.float32(256)).unsqueeze(1))
    assert data.test_labels.tolist() == LABELS[48:].tolist()
    assert "48 for training and 12 for the test" in data.note


def test_without_test_files_a_part_of_every_class_is_held_out(tmp_path):
    (tmp_path / "images").write_bytes(written(IMAGES))
    (tmp_path / "labels").write_bytes(written(LABELS))
    data = IdxFiles(folder=tmp_path, train_images="images", train_labels="labels", scale="1/255").load()
    assert (len(data.train_labels), len(data.test_labels)) == (48, 12)
    assert data.test_labels.bincount().tolist() == [1] * 12
    assert data.train_samples[:].max() == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": 11}, "label of sample 11 is 11, 0 to 10 expected"),
        ({"train_labels": "t10k-labels-idx1-ubyte"}, "12 labels found for 48 samples"),
        ({"train_images": "train-labels-idx1-ubyte"}, "magic number 2049 found, 2051 expected"),
        ({"train_images": "nothing"}, "nothing.gz: no such file"),
        ({"class_names": ("a", "b")}, "2 names found for 12 classes"),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(folder, settings, message):
    with pytest.raises(UserError, match=message):
        IdxFiles(folder=folder, **settings).load()
