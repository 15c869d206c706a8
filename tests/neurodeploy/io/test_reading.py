"""Files of others: a pipe, a device or a socket is refused at once, whatever it is taken for."""

import io
import os
import socket
import sys
import tracemalloc
from pathlib import Path

import pytest

from neurodeploy.data.stored import read_file
from neurodeploy.io import tensors, weights
from neurodeploy.io.arrays import map_array, read_array, read_arrays
from neurodeploy.io.errors import UserError
from neurodeploy.io.hdf5 import opened
from neurodeploy.io.reading import contents, read_bounded, text_of, toml_tables
from neurodeploy.recipe import load as load_recipe
from neurodeploy.training import results
from neurodeploy_energy import Report
from neurodeploy_energy.price.profiles import load as load_profile
from neurodeploy_energy.report.document import read_account
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.onnx.model import read as read_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")


def hdf5(path: Path) -> None:
    with opened(path):
        pass


READERS = {
    "npy": read_array,
    "mapped npy": map_array,
    "npz": read_arrays,
    "weights": weights.read_weights,
    "checkpoint": lambda path: tensors.read(path, "neurodeploy", lambda _: None),
    "net": hdf5,
    "onnx": read_model,
    "recipe": lambda path: load_recipe(str(path)),
    "profile": lambda path: load_profile(path.with_suffix(".toml")),
    "report": lambda path: read_account(path, Report),
    "results": results.read,
    "bundle": lambda path: read_bundle(path.parent),
    "stored data": lambda path: read_file(path, at_most=100),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder"])
def test_what_is_no_plain_file_is_refused_at_once_by_every_reader(tmp_path, monkeypatch, reader, kind):
    names = {"profile": "x.toml", "bundle": "manifest.json"}
    path = tmp_path / names.get(reader, "x")
    held = None
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        held = socket.socket(socket.AF_UNIX)
        with monkeypatch.context() as here:
            here.chdir(tmp_path)  # names of sockets are short
            held.bind(path.name)
    try:
        with pytest.raises(UserError) as caught:
            READERS[reader](path)
    finally:
        if held is not None:
            held.close()
    assert "\n" not in str(caught.value)
    assert tmp_path.name in str(caught.value)


def test_a_file_beyond_its_limit_is_refused_unread(tmp_path):
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"x: 1,099,511,627,776 bytes found, a recipe of at most 268,435,456 expected"):
        contents(tmp_path / "x", "a recipe")


def test_text_that_is_no_utf_8_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(UserError, match="x: no UTF-8 text found, a recipe expected"):
        text_of(tmp_path / "x", "a recipe")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = ", "a = " + "1" * 10_000])
def test_toml_that_is_none_or_nested_without_end_is_refused_in_a_line(text):
    with pytest.raises(UserError, match=r"^x: not valid TOML: .{3,200}$"):
        toml_tables(text, "x")


def test_reading_a_small_file_takes_no_memory_for_the_largest_that_is_allowed(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    tracemalloc.start()
    try:
        assert contents(tmp_path / "x", "a recipe", at_most=1 << 34) == b"abc" * 1000
        assert read_file(tmp_path / "x", at_most=1 << 34) == b"abc" * 1000
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_a_file_is_read_up_to_its_limit_and_one_byte_beyond(size):
    content = bytes(range(256)) * ((size >> 8) + 1)
    for limit in (size - 1, size, size + 1):
        if limit >= 0:
            assert read_bounded(io.BytesIO(content[:size]), limit) == content[: min(size, limit + 1)]
