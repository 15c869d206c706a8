import hashlib

import pytest

from neurodeploy.io.errors import Failure, UserError
from neurodeploy.io.files import atomic_file, atomic_folder, atomic_members, sha256, write_text


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


def fill(folder, contents, stale=()):
    """Write a file for each name, and then whatever raises."""
    with atomic_members(folder, stale=stale) as new:
        for name, content in contents.items():
            if isinstance(content, BaseException):
                raise content
            write_text(new / name, content)


def contents_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_files_replace_those_of_the_same_name_together_and_leave_all_others_alone(tmp_path):
    folder = tmp_path / "run" / "report"
    fill(folder, {"a.txt": "1", "figures/old.png": "1", "figures/kept.png": "1"})
    write_text(folder / "notes.txt", "mine")
    write_text(folder / "figures" / "mine.jpg", "mine")
    fill(folder, {"a.txt": "2", "figures/kept.png": "2"}, stale=["figures/*.png"])
    mine = {"notes.txt": "mine", "figures/mine.jpg": "mine"}
    assert contents_of(folder) == {"a.txt": "2", "figures/kept.png": "2"} | mine
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_files_that_cannot_all_be_written_leave_those_of_before_and_no_new_folder(tmp_path, fault):
    folder = tmp_path / "report"
    with pytest.raises((Failure, KeyboardInterrupt)):
        fill(folder, {"a.txt": "1", "b.txt": fault})
    assert not folder.exists()
    fill(folder, {"a.txt": "1"})
    with pytest.raises((Failure, KeyboardInterrupt)):
        fill(folder, {"a.txt": "2", "b.txt": fault})
    assert contents_of(folder) == {"a.txt": "1"}


def test_files_of_which_one_cannot_be_moved_are_all_back_where_they_were(tmp_path):
    fill(tmp_path, {"a.txt": "1"})
    (tmp_path / "b.txt").mkdir()
    (tmp_path / "b.txt" / "mine").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written .*choose another place"):
        fill(tmp_path, {"a.txt": "2", "b.txt": "2"})
    assert contents_of(tmp_path) == {"a.txt": "1", "b.txt/mine": "mine"}


def test_what_a_killed_process_left_of_its_files_is_gone_with_the_next_writing(tmp_path):
    (tmp_path / ".files.part-dead" / "new").mkdir(parents=True)
    fill(tmp_path, {"a.txt": "1"})
    assert contents_of(tmp_path) == {"a.txt": "1"}


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
