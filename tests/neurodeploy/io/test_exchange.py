"""Whoever is killed while a folder changes leaves the old or the new one, whole; and two writers do not mix."""

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from random import Random

import pytest

from neurodeploy.io import exchange
from neurodeploy.io.errors import UserError
from neurodeploy.io.files import atomic_folder, atomic_members, write_text

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and exchanges of Linux")

WRITING = """
import os, sys
from pathlib import Path
from neurodeploy.io import exchange, files

if sys.argv[3] == "journal":
    exchange.swapped = files.swapped = lambda one, other: False

folder, number = Path(sys.argv[1]), 0
while True:
    number += 1
    if sys.argv[2] == "folder":
        with files.atomic_folder(folder, marker="m") as new:
            for name in ("m", "a", "b", "c"):
                (new / name).write_text(str(number))
    else:
        with files.atomic_members(folder, stale=["figures/*.png"]) as new:
            for name in ("m", "a", "b", f"figures/{number % 3}.png"):
                files.write_text(new / name, str(number))
    print(number, flush=True)
"""


def killed(folder: Path, kind: str, way: str, random: Random) -> int:
    """The last number that a writer said was written, before it was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITING, str(folder), kind, way]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert writer.stdout is not None
    first = int(writer.stdout.readline())
    try:
        writer.wait(random.random() * 0.1)
    except subprocess.TimeoutExpired:
        writer.kill()
    said = writer.stdout.read().split()
    writer.stdout.close()
    writer.wait()
    return int(said[-1]) if said else first


@pytest.mark.parametrize("kind", ["folder", "members"])
@pytest.mark.parametrize("way", ["exchange", "journal"])
def test_a_killed_writer_leaves_all_of_the_old_or_all_of_the_new(tmp_path, kind, way):
    random, folder = Random(f"{kind} {way}"), tmp_path / "x"
    for _ in range(8):
        written = killed(folder, kind, way, random)
        if way == "journal":  # the next one finishes what was begun
            exchange.recover(folder)
            exchange.finish_members(folder)
        found = {path.read_text() for path in folder.rglob("*") if path.is_file() and ".files." not in str(path)}
        assert len(found) == 1, found
        assert int(found.pop()) >= written
        assert len([path for path in folder.iterdir() if not path.name.startswith(".")]) == 4


def test_nothing_of_killed_writers_is_left_after_the_next_writing(tmp_path):
    random, folder = Random(1), tmp_path / "x"
    for way in ("exchange", "journal") * 2:
        killed(folder, "members", way, random)
    with atomic_members(folder, stale=["figures/*.png"]) as new:
        write_text(new / "m", "last")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
    assert [path.name for path in folder.rglob(".*")] == []


def test_files_of_the_users_own_stay_in_a_folder_that_is_exchanged(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    before = folder.stat().st_ino
    with atomic_members(folder) as new:
        write_text(new / "report", "1")
    assert folder.stat().st_ino != before
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"notes": "mine", "report": "1"}


def test_a_folder_with_folders_of_others_a_link_and_the_current_folder_keep_their_place(tmp_path, monkeypatch):
    full, here = tmp_path / "full", tmp_path / "here"
    for folder in (full, here):
        folder.mkdir()
    (full / "trials").mkdir()
    (tmp_path / "link").symlink_to(full)
    monkeypatch.chdir(here)
    for folder, real in ((full, full), (tmp_path / "link", full), (here, here), (Path(), here)):
        before = real.stat().st_ino
        with atomic_members(folder) as new:
            write_text(new / "report", folder.name)
        assert real.stat().st_ino == before
        assert (real / "report").read_text() == folder.name
    assert (tmp_path / "link").is_symlink()
    assert (full / "trials").is_dir()


def hold(folder, begun, ended):
    with atomic_members(folder) as new:
        write_text(new / "report", "first")
        begun.set()
        ended.wait()


@pytest.mark.parametrize("patience", [0.2, 20.0])
def test_a_second_writer_waits_for_the_first_and_is_refused_if_that_does_not_end(tmp_path, monkeypatch, patience):
    monkeypatch.setattr(exchange, "_PATIENCE", patience)
    context = get_context("fork")
    begun, ended = context.Event(), context.Event()
    first = context.Process(target=hold, args=(tmp_path / "x", begun, ended))
    first.start()
    begun.wait()
    if patience < 1:
        with (
            pytest.raises(UserError, match="x: another process is writing here; wait until it has ended"),
            atomic_members(tmp_path / "x"),
        ):
            pass
        ended.set()
    else:
        monkeypatch.setattr(exchange.time, "sleep", lambda _: ended.set())
        with atomic_members(tmp_path / "x") as new:
            write_text(new / "report", "second")
    first.join()
    assert (tmp_path / "x" / "report").read_text() == ("first" if patience < 1 else "second")


def test_files_and_names_are_on_disk_before_success_is_said(tmp_path, monkeypatch):
    synced: list[str] = []
    real = exchange._fsync
    monkeypatch.setattr(exchange, "_fsync", lambda path: (synced.append(path.name), real(path)))
    with atomic_folder(tmp_path / "bundle", marker="m") as new:
        (new / "m").write_text("1")
        (new / "sub").mkdir()
        (new / "sub" / "w").write_text("1")
    assert {"m", "w", "sub"} <= set(synced)
    assert synced[-1] == tmp_path.name
    write_text(tmp_path / "file", "1")
    assert synced[-1] == tmp_path.name


def test_what_was_in_place_already_is_removed_by_the_next_writer(tmp_path):
    ready = tmp_path / f".files.{exchange.READY}-1"
    (ready / "new").mkdir(parents=True)  # its note was removed first
    exchange.finish_members(tmp_path)
    assert not ready.exists()
