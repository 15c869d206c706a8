import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurodeploy.data import stored
from neurodeploy.data.stored import prepared
from neurodeploy.io.errors import Failure, UserError

SETTINGS = {"kind": "made", "bins": 3}


class Build:
    """Builds tensors and counts how often it had to."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self):
        self.times += 1
        return {"x": torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4), "y": torch.tensor([1.5, -2.0])}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.bin"
    path.write_bytes(b"content")
    return path


def kept(folder):
    return sorted((folder / "prepared").iterdir())


def test_the_same_settings_and_files_are_built_once(source, tmp_path):
    build = Build()
    first = prepared(tmp_path, SETTINGS, [source], build)
    again = prepared(tmp_path, SETTINGS, [source], build)
    assert build.times == 1
    assert {name: tensor.dtype for name, tensor in again.items()} == {"x": torch.uint8, "y": torch.float32}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert [path.suffix for path in kept(tmp_path)] == [".safetensors"]


def test_other_settings_and_changed_files_are_built_anew(source, tmp_path):
    build = Build()
    prepared(tmp_path, SETTINGS, [source], build)
    prepared(tmp_path, SETTINGS | {"bins": 4}, [source], build)
    os.utime(source, ns=(0, 0))
    prepared(tmp_path, SETTINGS, [source], build)
    source.write_bytes(b"longer content")
    prepared(tmp_path, SETTINGS, [source], build)
    other = tmp_path / "other.bin"
    other.write_bytes(b"")
    prepared(tmp_path, SETTINGS, [source, other], build)
    assert build.times == 5


@given(data=st.data())
def test_however_the_cache_is_damaged_it_is_rebuilt_and_not_trusted(tmp_path_factory, data):
    folder, build = tmp_path_factory.mktemp("cache"), Build()
    source = folder / "source.bin"
    source.write_bytes(b"content")
    prepared(folder, SETTINGS, [source], build)
    (path,) = kept(folder)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[:place] if data.draw(st.booleans()) else content)
    found = prepared(folder, SETTINGS, [source], build)
    assert all(torch.equal(found[name], tensor) for name, tensor in Build()().items())
    assert prepared(folder, SETTINGS, [source], Build()).keys() == found.keys()


def test_a_cache_of_another_fingerprint_under_the_same_name_is_not_trusted(source, tmp_path):
    prepared(tmp_path, SETTINGS, [source], Build())
    (path,) = kept(tmp_path)
    content = path.read_bytes()
    prepared(tmp_path, SETTINGS | {"bins": 9}, [source], Build())
    (other,) = set(kept(tmp_path)) - {path}
    other.write_bytes(content)
    build = Build()
    prepared(tmp_path, SETTINGS | {"bins": 9}, [source], build)
    assert build.times == 1


def test_a_missing_source_file_is_named_and_a_failed_build_leaves_nothing(source, tmp_path):
    with pytest.raises(UserError, match=r"lost.bin: cannot be read \(No such file"):
        prepared(tmp_path, SETTINGS, [tmp_path / "lost.bin"], Build())

    def failing():
        raise UserError("source.bin: damaged")

    with pytest.raises(UserError, match="damaged"):
        prepared(tmp_path, SETTINGS, [source], failing)
    assert list(tmp_path.iterdir()) == [source]


def test_a_folder_that_may_only_be_read_works_without_cache(source, tmp_path):
    (tmp_path / "prepared").write_text("a file is in the way")
    build = Build()
    for _ in range(2):
        assert prepared(tmp_path, SETTINGS, [source], build)["y"].tolist() == [1.5, -2.0]
    assert build.times == 2


def test_a_full_disk_is_a_failure_that_leaves_nothing(source, tmp_path, monkeypatch):
    def full(*_arguments, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored, "save_file", full)
    with pytest.raises(Failure, match=r"No space left on device.*; free some space"):
        prepared(tmp_path, SETTINGS, [source], Build())
    assert kept(tmp_path) == []
