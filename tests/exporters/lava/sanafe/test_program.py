"""What is wrong with SANA-FE's Python, or goes wrong in it, is said in one line."""

import os
import sys
from pathlib import Path

import pytest

from checks.sanafe.bodies import BODIES
from neurodeploy.io.errors import Failure, UserError
from neurodeploy_exporters.lava.sanafe import simulate_body
from neurodeploy_exporters.lava.sanafe.program import VARIABLE, find_program
from neurodeploy_exporters.simulation import Simulator


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(program, seconds=60.0):
    make, entering = BODIES["residual"]
    return simulate_body(make(), entering, Simulator("sana-fe", program, seconds), origin="body")


def test_nothing_named_says_how_to_get_it():
    with pytest.raises(UserError, match=r"none is named: python3 -m venv sana-fe && .*pip install sanafe==2\.2\.0") as error:
        find_program(Simulator("sana-fe"))
    assert "\n" not in str(error.value)


def test_the_variable_of_the_environment_names_it(stand_in, monkeypatch):
    program = stand_in()
    monkeypatch.setenv(VARIABLE, str(program))
    assert find_program(Simulator("sana-fe")).python == program
    assert find_program(Simulator("sana-fe")).version == "2.2.0"


@pytest.mark.parametrize("name", ["missing", "."])
def test_no_program_there(name, tmp_path):
    with pytest.raises(UserError, match=r"--simulator-python: .*: no program found"):
        find_program(Simulator("sana-fe", tmp_path / name))


def test_a_python_without_sana_fe():
    with pytest.raises(UserError, match="has no SANA-FE: python3 -m venv"):
        find_program(Simulator("sana-fe", Path(sys.executable)))


def test_a_program_that_is_no_python(tmp_path):
    with pytest.raises(UserError, match="has no SANA-FE"):
        find_program(Simulator("sana-fe", script(tmp_path / "other", "echo 2.2.0")))


def test_an_executable_that_cannot_be_run(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(UserError, match="cannot be run"):
        find_program(Simulator("sana-fe", broken))


PROBED = 'if [ "$2" = -c ]; then echo sanafe 9.9; exit; fi\n'


def test_a_crash_is_told_with_its_last_words_and_no_control_characters(tmp_path):
    program = script(
        tmp_path / "crash", PROBED + "echo 'stage: building the chip' >&2; printf 'no\\033[2J luck\\n' >&2; exit 5"
    )
    with pytest.raises(Failure, match=r"SANA-FE 9\.9: exit code 5 while building the chip: no\\x1b\[2J luck"):
        run(program)


def test_a_kill_is_told(tmp_path):
    with pytest.raises(Failure, match=r"killed by signal 9: it said nothing"):
        run(script(tmp_path / "killed", PROBED + "kill -9 $$"))


def test_an_answer_that_is_none(tmp_path):
    with pytest.raises(Failure, match="its answer is not what it should be"):
        run(script(tmp_path / "silent", PROBED + "exit 0"))


def test_too_slow_a_simulation_is_stopped_and_says_where(stand_in):
    with pytest.raises(Failure, match=r"stopped after 2 s while run 1 of 3; give it longer \(--simulator-timeout\)"):
        run(stand_in("slow"), seconds=2)


def test_another_loihi_than_the_known_one_is_refused(stand_in, tmp_path):
    program = stand_in()
    file = tmp_path / "packages" / "sanafe" / "examples" / "loihi.yaml"
    file.write_text(file.read_text().replace("width: 8", "width: 16"))
    with pytest.raises(UserError, match=r"loihi\.yaml: not the Loihi that SANA-FE 2\.2\.0 brings"):
        run(program)


def test_nothing_of_this_pythons_environment_reaches_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    seen = tmp_path / "seen"
    with pytest.raises(Failure):
        run(script(tmp_path / "looks", PROBED + f"env > {seen}; exit 1"))
    assert "PYTHONPATH" not in seen.read_text()
    assert os.environ["PATH"] in seen.read_text()


def test_no_files_are_left_behind(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    run(stand_in())
    assert list((tmp_path / "scratch").iterdir()) == []
