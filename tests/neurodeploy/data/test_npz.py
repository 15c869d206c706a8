"""Arrays of users in files: values as they are, and every fault named with its array and sample."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine

from neurodeploy.data import ArrayFiles
from neurodeploy.io.errors import UserError

RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def saved(folder, **arrays):
    whole = {"x_train": BYTES[:9], "y_train": LABELS[:9], "x_test": BYTES[9:], "y_test": LABELS[9:]} | arrays
    np.savez(folder / "own.npz", **{name: array for name, array in whole.items() if array is not None})
    return folder / "own.npz"


def test_bytes_are_scaled_and_channels_come_first(tmp_path):
    data = ArrayFiles(path=saved(tmp_path), layout="channels-last", class_names=("a", "b", "c")).load()
    assert data.train_samples.shape == (9, 3, 5, 4)
    assert np.array_equal((data.train_samples * 256).numpy(), BYTES[:9].transpose(0, 3, 1, 2))
    assert data.test_labels.tolist() == LABELS[9:].tolist()
    assert (data.classes, data.class_names, data.workers) == (3, ("a", "b", "c"), 0)
    assert np.array_equal(ArrayFiles(path=saved(tmp_path), scale="1").load().train_samples.numpy(), BYTES[:9])


def test_floats_are_taken_as_they_are_and_split_by_class(tmp_path):
    x, y = load_wine(return_X_y=True)
    np.savez(tmp_path / "wine.npz", x=x, y=y)
    data = ArrayFiles(path=tmp_path / "wine.npz", x_train="x", y_train="y").load()
    assert data.sample_shape == (13,)
    assert torch.bincount(data.test_labels).tolist() == [12, 14, 10]  # a fifth of 59, 71 and 48
    both = torch.cat([data.train_samples[:], data.test_samples[:]])
    assert np.array_equal(np.sort(both[:, 0].numpy()), np.sort(x[:, 0].astype(np.float32)))


def test_files_of_a_folder_are_mapped_and_read_in_batches(tmp_path):
    for name, array in {"x_train": BYTES[:9], "y_train": LABELS[:9, None], "x_test": BYTES[9:], "y_test": LABELS[9:]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = ArrayFiles(path=tmp_path, layout="channels-last").load()
    held = ArrayFiles(path=saved(tmp_path), layout="channels-last").load()
    assert isinstance(mapped.train_samples.values, np.memmap)
    assert torch.equal(mapped.train_samples[:], held.train_samples)
    assert torch.equal(mapped.train_samples[torch.tensor([7, 0])], held.train_samples[[7, 0]])
    assert torch.equal(mapped.train_labels, held.train_labels)


def test_images_without_channels_get_one(tmp_path):
    data = ArrayFiles(path=saved(tmp_path, x_train=BYTES[:9, ..., 0], x_test=BYTES[9:, ..., 0]), layout="no-channels").load()
    assert data.train_samples.shape == (9, 1, 5, 4)


def test_event_frames_keep_their_time(tmp_path):
    frames = RANDOM.integers(0, 2, (12, 6, 5, 4, 2)).astype(bool)
    path = saved(tmp_path, x_train=frames[:9], x_test=frames[9:])
    data = ArrayFiles(path=path, frames=6, layout="channels-last").load()
    assert data.timed
    assert (data.steps, data.sample_shape) == (6, (2, 5, 4))
    assert np.array_equal(data.train_samples.numpy(), frames[:9].transpose(0, 1, 4, 2, 3))
    with pytest.raises(UserError, match=r"x_train: samples of shape \(6, 2, 5, 4\) found, \(7, C, …\) expected of 7 frames"):
        ArrayFiles(path=path, frames=7, layout="channels-last").load()


def broken(values, number, value):
    values = values.astype(np.float64)
    values[number].flat[3] = value
    return values


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": None}, r"no array x_train; there are: x_test, y_test, y_train"),
        ({"y_test": None}, r"no array y_test"),
        ({"x_train": broken(BYTES[:9], 5, np.nan)}, r"x_train: sample 5 holds values that are no finite float32"),
        ({"x_test": broken(BYTES[9:], 1, np.inf)}, r"x_test: sample 1 holds values that are no finite float32"),
        ({"x_train": broken(BYTES[:9], 2, 1e300)}, r"x_train: sample 2 holds values that are no finite float32"),
        ({"x_train": BYTES[:9].astype(np.int64) * 10**9}, r"x_train: sample 0 holds whole numbers beyond ±16,777,216"),
        ({"y_train": LABELS[:8]}, r"y_train: 8 labels found for 9 samples; as many expected"),
        ({"y_train": LABELS[:9] - 1}, r"y_train: label of sample 0 is -1, 0 or more expected"),
        ({"y_train": LABELS[:9] + 0.5}, r"y_train: label of sample 0 is 0\.5, a whole number expected"),
        ({"y_train": np.where(LABELS[:9] == 2, np.nan, 0)}, r"y_train: label of sample 2 is nan, a whole number expected"),
        ({"y_train": np.eye(3)[LABELS[:9]]}, r"y_train: labels of shape \(9, 3\) found, \[9\] expected"),
        ({"y_train": np.array(list("abcabcabc"))}, r"y_train: values of type <U1 found, numbers expected"),
        ({"y_train": LABELS[:9] + 1}, r"no training sample of class 0 found, though labels go up to 3"),
        ({"y_train": np.zeros(9)}, r"one class found, at least two expected"),
        ({"y_test": LABELS[9:] + 1}, r"label of test sample 2 is 3, a class without training samples; 0 to 2 expected"),
        ({"x_test": BYTES[9:, :4]}, r"x_test: samples of shape \(4, 4, 3\) found, \(5, 4, 3\) expected as in x_train"),
        ({"x_train": BYTES[:0], "y_train": LABELS[:0]}, r"x_train: shape \(0, 5, 4, 3\) found, \[N, …\] with at least one"),
    ],
)
def test_faults_are_named_with_their_array_and_sample(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message) as error:
        ArrayFiles(path=saved(tmp_path, **arrays)).load()
    assert len(str(error.value).splitlines()) == 1


def test_labels_beyond_the_given_classes_are_refused(tmp_path):
    assert ArrayFiles(path=saved(tmp_path), classes=5).load().classes == 5
    with pytest.raises(UserError, match=r"y_train: label of sample 2 is 2, 0 to 1 expected"):
        ArrayFiles(path=saved(tmp_path), classes=2).load()
    with pytest.raises(UserError, match=r"class_names: 2 names found for 3 classes"):
        ArrayFiles(path=saved(tmp_path), class_names=("a", "b")).load()


def test_objects_and_missing_files_are_refused(tmp_path):
    np.save(tmp_path / "x_train.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"x_train\.npy: not a readable \.npy file"):
        ArrayFiles(path=tmp_path).load()
    with pytest.raises(UserError, match=r"absent\.npz: no such file"):
        ArrayFiles(path=tmp_path / "absent.npz").load()
