import gzip
import hashlib
import re

import numpy as np
import pytest
import torch

from neurodeploy.data import Mnist, mnist
from neurodeploy.data.download import Resource
from neurodeploy.io.errors import UserError

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file, after the format's description."""
    return bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Twenty training and ten test images, plain."""
    random = np.random.default_rng(0)
    for images, labels, count in ((STEMS[0], STEMS[1], 20), (STEMS[2], STEMS[3], 10)):
        (tmp_path / images).write_bytes(idx(random.integers(0, 256, (count, 28, 28), np.uint8)))
        (tmp_path / labels).write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    return tmp_path


def test_real_digits_come_byte_for_byte_from_the_official_files(official):
    root = official("mnist")
    data = Mnist(folder=root).load()
    with np.load(root / "mnist.npz") as plain:
        assert np.array_equal((data.train_samples * 256).numpy()[:, 0], plain["x_train"])
        assert np.array_equal((data.test_samples * 256).numpy()[:, 0], plain["x_test"])
        assert np.array_equal(data.train_labels, plain["y_train"])
        assert np.array_equal(data.test_labels, plain["y_test"])
    assert data.sample_shape == (1, 28, 28)


def test_gzipped_files_hold_the_same_as_plain_ones(folder):
    plain = Mnist(folder=folder).load()
    for stem in STEMS[:3]:
        (folder / f"{stem}.gz").write_bytes(gzip.compress((folder / stem).read_bytes()))
        (folder / stem).unlink()
    packed = Mnist(folder=folder).load()
    assert torch.equal(plain.train_samples, packed.train_samples)
    assert torch.equal(plain.test_labels, packed.test_labels)


def test_limits_are_balanced_and_keep_the_order(folder):
    data = Mnist(folder=folder, train_limit=1).load()
    assert torch.equal(data.train_labels, torch.arange(10))
    assert torch.equal(data.train_samples, Mnist(folder=folder).load().train_samples[:10])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (STEMS[0], lambda content: content[:-1], "15,695 bytes found, 15,696 expected from its header"),
        (STEMS[0], lambda content: content + b"x", "15,697 bytes found, 15,696 expected from its header"),
        (STEMS[0], lambda content: content[:6], "bytes found"),
        (STEMS[0], lambda content: b"\0\0\x0d\3" + content[4:], "magic number 3331 found, 2051 expected"),
        (STEMS[1], lambda content: b"\0\0\x08\3" + content[4:], "magic number 2051 found, 2049 expected"),
        (STEMS[0], lambda content: content[:8] + (14).to_bytes(4, "big") + (56).to_bytes(4, "big") + content[16:], "14×56"),
        (STEMS[1], lambda content: content[:4] + (19).to_bytes(4, "big") + content[8:-1], "19 labels found for 20 images"),
        (STEMS[3], lambda content: content[:-1] + b"\x0a", "label 9 is 10, 0 to 9 expected"),
        (STEMS[2], lambda _: b"", "empty"),
        (STEMS[2], lambda _: idx(np.zeros((0, 28, 28), np.uint8)), "10 labels found for 0 images"),
        (STEMS[0], lambda content: content[:4] + b"\xff" * 12 + content[16:], "bytes found"),
    ],
)
def test_a_damaged_file_is_refused_by_name(folder, name, change, message):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=message) as caught:
        Mnist(folder=folder).load()
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_an_empty_split_is_refused(folder):
    (folder / STEMS[2]).write_bytes(idx(np.zeros((0, 28, 28), np.uint8)))
    (folder / STEMS[3]).write_bytes(idx(np.zeros(0, np.uint8)))
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte: empty"):
        Mnist(folder=folder).load()


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-9], lambda whole: b"no gzip" + whole, lambda whole: whole[:50] + bytes(50)]
)
def test_a_damaged_gzip_file_is_refused_by_name(folder, damage):
    path = folder / f"{STEMS[0]}.gz"
    path.write_bytes(damage(gzip.compress((folder / STEMS[0]).read_bytes())))
    (folder / STEMS[0]).unlink()
    with pytest.raises(UserError, match=re.escape(str(path)) + ": not a whole gzip file"):
        Mnist(folder=folder).load()


def test_a_gzip_bomb_is_not_unpacked(folder, monkeypatch):
    monkeypatch.setattr("neurodeploy.data.idx._MOST_BYTES", 78_416)
    path = folder / f"{STEMS[0]}.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    (folder / STEMS[0]).unlink()
    with pytest.raises(UserError, match="more than 78,416 bytes found"):
        Mnist(folder=folder).load()


def test_a_missing_file_is_named_with_where_to_find_it(folder):
    (folder / STEMS[3]).unlink()
    with pytest.raises(UserError, match=r"no mnist data found .*t10k-labels-idx1-ubyte.* set data.download = true"):
        Mnist(folder=folder).load()


def test_a_download_fetches_the_four_files(folder, tmp_path, served, monkeypatch):
    publisher, address = served
    sources = []
    for stem in STEMS:
        packed = gzip.compress((folder / stem).read_bytes())
        (publisher / f"{stem}.gz").write_bytes(packed)
        sources.append(Resource(f"{address}/{stem}.gz", f"sha256:{hashlib.sha256(packed).hexdigest()}", f"{stem}.gz"))
    monkeypatch.setattr(mnist, "_SOURCES", tuple(sources))
    data = Mnist(folder=tmp_path / "new", download=True).load()
    assert torch.equal(data.train_samples, Mnist(folder=folder).load().train_samples)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(f"{stem}.gz" for stem in STEMS)
