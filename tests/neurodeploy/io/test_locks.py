"""What killed processes leave behind, and processes that write in one place."""

import subprocess
import sys

import pytest

from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_file, atomic_folder, locked, sole_writer, write_text

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from neurodeploy.io.files import atomic_file, atomic_folder

root = Path(sys.argv[1])
with atomic_file(root / "report.json") as temporary, atomic_folder(root / "bundle", marker="manifest.json") as folder:
    temporary.write_text("half")
    (folder / "weights").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_bundle(path) -> None:
    with atomic_folder(path, marker="manifest.json") as temporary:
        (temporary / "manifest.json").write_text("whole")


def test_what_a_killed_process_was_writing_goes_with_the_next_writing_and_nothing_else(tmp_path):
    (tmp_path / ".report.json").write_text("mine")
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, tmp_path], check=False)
    left = names(tmp_path)
    assert [name.rpartition("-")[0] for name in left[:1] + left[2:]] == [".bundle.part", ".report.json.part"]
    write_text(tmp_path / "report.json", "whole")
    write_bundle(tmp_path / "bundle")
    assert names(tmp_path) == [".report.json", "bundle", "report.json"]
    assert (tmp_path / "report.json").read_text() == "whole"


def test_what_is_still_being_written_stays(tmp_path):
    path = tmp_path / "report[1].json"
    with atomic_file(path) as first:
        first.write_text("first")
        write_text(path, "second")
        assert first.exists()
    assert path.read_text() == "first"
    folder = tmp_path / "bundle"
    with atomic_folder(folder, marker="manifest.json") as temporary:
        (temporary / "manifest.json").write_text("first")
        write_bundle(folder)
    assert (folder / "manifest.json").read_text() == "first"
    assert names(tmp_path) == ["bundle", "report[1].json"]


def test_an_older_folder_that_a_killed_process_had_put_aside_goes_once_there_is_a_new_one(tmp_path):
    aside = tmp_path / ".bundle.old-abcdefgh" / "bundle"
    aside.mkdir(parents=True)
    (aside / "manifest.json").write_text("old")
    write_bundle(tmp_path / "bundle")
    assert names(tmp_path) == ["bundle"]


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with (
        sole_writer(tmp_path),
        pytest.raises(UserError, match="another process is training here; wait until it has ended, or end it"),
        sole_writer(tmp_path),
    ):
        pass
    with sole_writer(tmp_path), locked(tmp_path) as held:
        assert held is False


def test_where_nothing_can_be_locked_nobody_is_refused(tmp_path):
    with locked(tmp_path / "nothing") as held, sole_writer(tmp_path / "nothing"):
        assert held is None
