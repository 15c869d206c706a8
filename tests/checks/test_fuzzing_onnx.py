"""A few hundred of the files behind `python -m checks.fuzz_onnx`."""

import sys
from collections import Counter

import pytest

from checks import fuzz_onnx
from checks.fuzz_onnx import make, outcomes, sound_files, try_file
from neurodeploy.io.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the process has a limit of memory")


def test_the_sound_files_run(tmp_path):
    for content in sound_files(tmp_path):
        (tmp_path / "a.onnx").write_bytes(content)
        assert try_file(tmp_path / "a.onnx") == "run"


def test_200_damaged_files_answer_or_are_refused_in_one_line(tmp_path):
    seeds = sound_files(tmp_path)
    found = dict(outcomes(seeds, 0, range(200), tmp_path))
    assert [*found] == [*range(200)]
    assert set(found.values()) == {"run", "refused"}
    assert Counter(found.values())["refused"] > 100
    assert make(seeds, 0, 7) == make(seeds, 0, 7) != make(seeds, 0, 8)


def test_a_message_without_the_file_or_of_several_lines_and_a_traceback_are_defects(tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    path.write_bytes(sound_files(tmp_path)[0])
    for error, outcome in (
        (UserError("wrong"), "message: 'wrong'"),
        (UserError(f"{path}: wrong\nand more"), "message: "),
        (KeyError("states"), "KeyError: 'states'"),
        (UserError(f"{path}: wrong"), "refused"),
    ):
        monkeypatch.setattr(fuzz_onnx, "_run", lambda _path, error=error: (_ for _ in ()).throw(error))
        assert try_file(path).startswith(outcome)
