import hashlib
import re
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodeploy.data import Cifar10, Cifar100, cifar10
from neurodeploy.io.errors import UserError


def write_records(path, labels, count, *, seed=0):
    """`count` records: label bytes from `labels(number)`, then random pixels; gives them back as an array."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    records = np.concatenate([np.array([labels(number) for number in range(count)], np.uint8), pixels], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    records.tofile(path)
    return records


@pytest.fixture
def small(monkeypatch):
    """Files of 20 records instead of 10,000 (50,000)."""
    original = cifar10._records
    monkeypatch.setattr(cifar10, "_records", lambda path, label_bytes, _count: original(path, label_bytes, 20))


@pytest.fixture
def cifar10_folder(tmp_path, small):  # noqa: ARG001 - for its effect
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    for seed, name in enumerate(names):
        write_records(tmp_path / name, lambda number: [number % 10], 20, seed=seed)
    return tmp_path


def test_real_photographs_come_byte_for_byte_from_the_official_files(official):
    folder = official("cifar10")
    data = Cifar10(folder=folder, train_limit=300).load()
    assert data.train_samples.shape == (3000, 3, 32, 32)
    assert data.test_samples.shape == (10_000, 3, 32, 32)
    assert (data.sample_shape, data.classes, data.timed) == ((3, 32, 32), 10, False)
    with np.load(folder / "cifar10.npz") as plain:
        pixels, labels = plain["x_test"].transpose(0, 3, 1, 2), plain["y_test"]
        first = np.sort(np.concatenate([np.flatnonzero(plain["y_train"] == label)[:300] for label in range(10)]))
        assert np.array_equal(data.train_labels, plain["y_train"][first])
        assert np.array_equal((data.train_samples * 256).numpy(), plain["x_train"][first].transpose(0, 3, 1, 2))
    assert np.array_equal((data.test_samples * 256).numpy(), pixels)
    assert np.array_equal(data.test_labels, labels)
    assert torch.bincount(data.train_labels).tolist() == [300] * 10
    assert "first 300 training samples" in data.note


def test_a_share_of_the_training_set_stands_for_the_test_set_and_is_not_trained_on(cifar10_folder):
    whole = Cifar10(folder=cifar10_folder).load()
    normalize = {"mean": (0.5,), "std": (0.25,)}
    data = Cifar10(folder=cifar10_folder, held_out_share=0.2, normalize=normalize).load()
    assert torch.bincount(data.test_labels).tolist() == [2] * 10
    assert torch.bincount(data.train_labels).tolist() == [8] * 10
    given = {image.numpy().tobytes() for image in (whole.train_samples - 0.5) / 0.25}
    train, test = ({image.numpy().tobytes() for image in samples[:]} for samples in (data.train_samples, data.test_samples))
    assert train | test == given
    assert not train & test
    assert "tested on 20 of its training samples" in data.note
    again = Cifar10(folder=cifar10_folder, held_out_share=0.2).load()
    assert torch.equal(again.test_labels, data.test_labels)
    with pytest.raises(UserError, match=r"data\.held_out_share: class \d has 1 training samples, at least 2 expected"):
        Cifar10(folder=cifar10_folder, held_out_share=0.2, train_limit=1).load()


def test_records_keep_their_order_over_the_five_batches(cifar10_folder):
    data = Cifar10(folder=cifar10_folder).load()
    assert data.train_samples.shape == (100, 3, 32, 32)
    for batch in range(5):
        records = np.fromfile(cifar10_folder / f"data_batch_{batch + 1}.bin", np.uint8).reshape(20, 3073)
        part = slice(20 * batch, 20 * batch + 20)
        assert np.array_equal((data.train_samples[part] * 256).numpy().reshape(20, -1), records[:, 1:])
        assert np.array_equal(data.train_labels[part], records[:, 0])


def test_a_limit_across_batches_takes_the_first_of_every_class(cifar10_folder):
    data = Cifar10(folder=cifar10_folder, train_limit=3, test_limit=1).load()
    whole = Cifar10(folder=cifar10_folder).load()
    assert torch.equal(data.train_samples, whole.train_samples[:30])  # labels go round, so three of each are the first 30
    assert torch.equal(data.test_labels, torch.arange(10))
    with pytest.raises(UserError, match="class 0 has 10 samples, fewer than the limit 11; lower the limit"):
        Cifar10(folder=cifar10_folder, train_limit=11).load()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("labels", "column", "classes"), [("coarse", 0, 20), ("fine", 1, 100)])
def test_cifar_100_has_a_coarse_and_a_fine_label_before_the_pixels(tmp_path, labels, column, classes):
    train = write_records(tmp_path / "cifar-100-binary" / "train.bin", lambda number: [number % 20, 99 - number], 20)
    write_records(tmp_path / "cifar-100-binary" / "test.bin", lambda number: [number % 20, number], 20)
    data = Cifar100(folder=tmp_path, labels=labels).load()
    assert data.classes == classes
    assert np.array_equal(data.train_labels, train[:, column])
    assert np.array_equal((data.train_samples * 256).numpy().reshape(20, -1), train[:, 2:])


@pytest.mark.parametrize("change", [lambda whole: whole[:-1], lambda whole: whole + b"x", lambda whole: whole[:3073]])
def test_a_file_of_the_wrong_size_is_refused_by_name(cifar10_folder, change):
    path = cifar10_folder / "data_batch_3.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=re.escape(str(path)) + ".*expected"):
        Cifar10(folder=cifar10_folder).load()


def test_a_label_out_of_range_is_refused_with_its_record(cifar10_folder):
    write_records(cifar10_folder / "data_batch_2.bin", lambda number: [10 if number == 7 else 0], 20)
    with pytest.raises(UserError, match=r"data_batch_2.bin: record 7: label 10 found, 0 to 9 expected"):
        Cifar10(folder=cifar10_folder).load()


def test_a_missing_batch_is_named_with_what_to_do(cifar10_folder):
    (cifar10_folder / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_4.bin.* set data.download = true, or put the official files there"):
        Cifar10(folder=cifar10_folder).load()


def test_the_pickled_version_is_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    for number in range(1, 6):
        (tmp_path / "cifar-10-batches-py" / f"data_batch_{number}").write_bytes(b"\x80\x02}")
    with pytest.raises(UserError, match="no cifar10 data found"):
        Cifar10(folder=tmp_path).load()


@pytest.mark.usefixtures("small")
def test_a_download_unpacks_the_binary_version_and_leaves_nothing_else(tmp_path, served, monkeypatch):
    publisher, address = served
    top = tmp_path / "made" / "cifar-10-batches-bin"
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        write_records(top / name, lambda number: [number % 10], 20)
    with tarfile.open(publisher / "cifar.tar.gz", "w:gz") as tar:
        tar.add(top, "cifar-10-batches-bin")
    digest = hashlib.md5((publisher / "cifar.tar.gz").read_bytes()).hexdigest()
    source = replace(cifar10._CIFAR10, url=f"{address}/cifar.tar.gz", checksum=f"md5:{digest}", sha256=None)
    monkeypatch.setattr(cifar10, "_CIFAR10", source)
    data = Cifar10(folder=tmp_path / "data", download=True).load()
    assert data.test_samples.shape == (20, 3, 32, 32)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar-10-batches-bin"]
    (publisher / "cifar.tar.gz").unlink()
    assert torch.equal(Cifar10(folder=tmp_path / "data", download=True).load().test_samples, data.test_samples)
