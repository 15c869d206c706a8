"""The cage: what runs in it has little memory and time, writes nowhere, and reaches nobody; whatever happens is one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurodeploy.io.cage import CageLimits, chosen_limits, is_wanted, run_caged
from neurodeploy.io.errors import Failure, UserError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")

PROBE = """
import json, os, socket, sys
from pathlib import Path

def tried(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"

acts = {
    "outside": lambda: Path(sys.argv[1], "outside").write_text("x"),
    "allowed": lambda: Path(sys.argv[2], "allowed").write_text("x"),
    "temporary": lambda: Path(os.environ["TMPDIR"], "x").write_text("x"),
    "read": lambda: Path(__file__).read_text(),
    "memory": lambda: bytearray(3 << 30),
    "large file": lambda: os.truncate(os.open(Path(os.environ["TMPDIR"], "y"), os.O_CREAT | os.O_WRONLY), 2 << 30),
    "network": lambda: socket.create_connection(("192.0.2.1", 80), timeout=5),
}
print(json.dumps({name: tried(act) for name, act in acts.items()}))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that a cage can run."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(code: str) -> str:
        (tmp_path / "caged_probe.py").write_text(code)
        return "caged_probe"

    return made


def namespaces() -> bool:
    """Whether this system lets a process take the network and the right to write from itself."""
    code = "from neurodeploy.io.cage import isolate; print(len(isolate((), network=False)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "2"


def test_a_caged_process_has_little_memory_and_disk_and_sees_no_network(module, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    limits = CageLimits(seconds=60, gib=1, file_gib=1, writable=(str(tmp_path / "in"),))
    assert run_caged([module(PROBE), str(tmp_path), str(tmp_path / "in")], limits, origin="x") == 0
    seen = json.loads(capfd.readouterr().out)
    assert seen["memory"] == "MemoryError"
    assert seen["large file"] == "OSError"
    assert (seen["allowed"], seen["temporary"], seen["read"]) == ("done", "done", "done")
    if namespaces():
        assert (seen["outside"], seen["network"]) == ("OSError", "OSError")
        assert not (tmp_path / "outside").exists()


def test_the_exit_code_and_the_output_are_the_childs(module, capfd):
    assert run_caged([module("import sys; print('said'); sys.exit(7)")], CageLimits(seconds=60), origin="x") == 7
    assert capfd.readouterr().out == "said\n"


def test_a_process_that_does_not_end_is_ended_and_named(module):
    with pytest.raises(Failure, match=r"^bundle: not done after 4 s, ended; set NEURODEPLOY_CAGE='seconds=…'"):
        run_caged([module("while True: pass")], CageLimits(seconds=4), origin="bundle")


def test_a_process_that_crashes_is_one_line(module):
    with pytest.raises(UserError, match=r"^bundle: the process that read it was ended by SIGSEGV: damaged"):
        run_caged([module("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")], CageLimits(seconds=60), origin="bundle")


def test_nothing_is_left_of_a_cage(module, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    run_caged([module("import os; open(os.environ['TMPDIR'] + '/x', 'w').close()")], CageLimits(seconds=60), origin="x")
    assert [path.name for path in Path(tmp_path).glob("neurodeploy-cage-*")] == []


def test_the_environment_variable_sets_limits_or_switches_the_cage_off(monkeypatch):
    monkeypatch.delenv("NEURODEPLOY_CAGE", raising=False)
    assert is_wanted()
    assert chosen_limits(CageLimits()) == CageLimits()
    monkeypatch.setenv("NEURODEPLOY_CAGE", "seconds=5 gib=0.5")
    assert is_wanted()
    assert chosen_limits(CageLimits()) == CageLimits(seconds=5, gib=0.5)
    monkeypatch.setenv("NEURODEPLOY_CAGE", "off")
    assert not is_wanted()


@pytest.mark.parametrize("text", ["seconds", "seconds=-1", "gib=nan", "weeks=3", "seconds=x"])
def test_limits_of_another_form_are_refused(monkeypatch, text):
    monkeypatch.setenv("NEURODEPLOY_CAGE", text)
    with pytest.raises(UserError, match=r'NEURODEPLOY_CAGE: .* found, "off" or limits such as "seconds=3600 gib=32" expected'):
        chosen_limits(CageLimits())
