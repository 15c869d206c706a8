import hashlib

import pytest

from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import atomic_file, atomic_folder, sha256, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    write_text(path, "old")

    def write() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(Failure, match=r"report.json: not written \(No space left on device\); free some space"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_an_older_one_of_its_kind_and_no_other(tmp_path):
    folder = tmp_path / "bundle"
    for content in ("one", "two"):
        with atomic_folder(folder, marker="manifest.json") as temporary:
            (temporary / "manifest.json").write_text(content)
    assert (folder / "manifest.json").read_text() == "two"
    assert list(tmp_path.iterdir()) == [folder]
    other = tmp_path / "photographs"
    other.mkdir()
    (other / "cat.png").write_text("cat")
    with pytest.raises(UserError, match="is not overwritten"), atomic_folder(other, marker="manifest.json"):
        pass
    assert (other / "cat.png").exists()


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    folder = tmp_path / "bundle"
    with atomic_folder(folder, marker="manifest.json") as temporary:
        (temporary / "manifest.json").write_text("old")

    def write() -> None:
        with atomic_folder(folder, marker="manifest.json") as temporary:
            (temporary / "manifest.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (folder / "manifest.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_path_below_a_file_is_refused_as_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"report.json: cannot be written .*; choose another place"):
        write_text(tmp_path / "file" / "report.json", "text")
    with (
        pytest.raises(UserError, match="bundle: cannot be written"),
        atomic_folder(tmp_path / "file" / "bundle", marker="manifest.json"),
    ):
        pass


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"spikes")
    assert sha256(path) == hashlib.sha256(b"spikes").hexdigest()
