"""Commands where something around them is amiss: one line that says what, the right exit code, and nothing half-written."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="full disks and rights of Linux")

ODD = "a\nerror: forged\x1b[31m"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small module of one's own, and samples for it."""
    root = tmp_path_factory.mktemp("own")
    code = "import torch\nfrom torch import nn\nimport neurodeploy as nd\n\n\ndef make():\n    torch.manual_seed(0)\n"
    code += "    return nn.Sequential(nn.Linear(4, 6), nd.LIF(), nn.Linear(6, 3))\n"
    (root / "surrounded.py").write_text(code)
    np.save(root / "x.npy", np.random.default_rng(0).random((3, 5, 4), np.float32))
    return root


def energy(folder, *arguments, **settings):
    """`neurodeploy energy` of the module in a process of its own."""
    command = [sys.executable, "-m", "neurodeploy", "energy", "surrounded:make", "--input", str(folder / "x.npy")]
    command += ["--batch-axis", "1", *map(str, arguments)]
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "LC_ALL", "LANG")}
    environment = {**kept, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), **settings.pop("env", {})}
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    return subprocess.run(command, cwd=folder, env=environment, timeout=300, check=False, **settings)


def said(done) -> list[str]:
    return [line for line in done.stderr.decode().splitlines() if line.startswith("error: ")]


def test_it_works_where_nothing_is_amiss_but_home_locale_and_standard_input(folder, tmp_path):
    done = energy(
        folder, "--output", tmp_path / "report", env={"LC_ALL": "C", "PYTHONUTF8": "0"}, stdin=None, preexec_fn=closed
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))["samples"] == 5


def closed() -> None:
    os.close(0)


def test_a_full_disk_ends_in_one_line_and_leaves_the_old_report(folder, tmp_path):
    assert energy(folder, "--output", tmp_path / "report").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()}
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731 - as a disk without room
    done = energy(folder, "--output", tmp_path / "report", "--profile", "loihi1", preexec_fn=full)
    assert done.returncode == 1
    assert len(said(done)) == 1
    assert "free some space or choose another place" in said(done)[0]
    assert b"Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("place", ["/proc/self/report", "/dev/full/report"])
def test_a_place_that_cannot_be_written_ends_in_one_line(folder, place):
    done = energy(folder, "--output", place)
    assert done.returncode in (1, 2)
    assert len(said(done)) == 1
    assert place.rpartition("/")[0] in said(done)[0]
    assert b"Traceback" not in done.stderr


def test_a_folder_without_rights_ends_in_one_line(folder, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if os.geteuid() == 0:  # whom rights do not stop, but the lack of them does
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "true"]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("rights stop no one here")
        code = "import pathlib, sys; from neurodeploy.io.files import write_text; write_text(pathlib.Path(sys.argv[1]), 'x')"
        wrapped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", code, str(locked / "x")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(wrapped, env=environment, capture_output=True, check=False)
        assert b"cannot be written (Permission denied); choose another place" in done.stderr
    else:
        done = energy(folder, "--output", locked / "report")
        assert done.returncode == 2
        assert "cannot be written (Permission denied); choose another place" in said(done)[0]
    assert list(locked.iterdir()) == []


def test_a_reader_that_goes_away_ends_it_without_a_word(folder):
    reading, writing = os.pipe()
    os.close(reading)
    done = energy(folder, stdout=writing)
    os.close(writing)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert said(done) == []


def test_a_path_with_line_breaks_and_commands_is_written_and_named_in_one_line(folder, tmp_path):
    done = energy(folder, "--output", tmp_path / ODD)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ODD / "report.json").is_file()
    absent = energy(folder, "--input", tmp_path / ODD / "absent.npy")
    assert absent.returncode == 2
    assert len(said(absent)) == 1
    assert "a\\nerror: forged\\x1b[31m" in said(absent)[0]
    assert b"\x1b" not in done.stdout + done.stderr + absent.stderr


def test_the_caches_of_libraries_are_not_needed(folder, tmp_path):
    done = energy(folder, "--output", tmp_path / "report", env={"HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    assert Path(tmp_path / "report" / "report.html").is_file()
