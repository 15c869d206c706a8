"""A few hundred of the files behind `make fuzz`, and that it finds each kind of defect."""

import io
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import pytest

from checks import fuzz_net
from checks.fuzzing import members, trial, worker
from checks.fuzzing.seeds import seeds
from checks.fuzzing.worker import Limits, make, results
from neurodeploy.io.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the watched process reads /proc")
LIMITS = Limits(seconds=60, megabytes=2048)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> list[bytes]:
    return seeds(tmp_path_factory.mktemp("seeds"), None)


def test_the_sound_files_are_read_and_run(sound, tmp_path):
    for content in sound:
        (tmp_path / "a.net").write_bytes(content)
        found = trial.try_file(tmp_path / "a.net", random.Random(0))
        by_host = found.kind == "refused later" and "average the spikes on the host" in found.detail
        assert found.kind == "run" or by_host


def test_200_damaged_files_end_well_or_in_one_line(sound, tmp_path):
    found = list(results(sound, 2, range(200), tmp_path, LIMITS))
    assert [result.number for result in found] == list(range(200))
    assert [(result.number, result.outcome.detail) for result in found if result.outcome.kind == "defect"] == []
    assert sum(result.outcome.kind == "refused" for result in found) > 100
    assert sum(result.outcome.kind == "run" for result in found) > 15


def test_seed_and_number_make_a_file_whatever_came_before(sound):
    assert make(sound, 5, 17) == make(sound, 5, 17)
    assert len({make(sound, seed, number)[0] for seed in (0, 1) for number in range(20)}) > 35


@pytest.mark.parametrize("rule", sorted({rule.__name__: rule for rule in members._RULES}.items()))
def test_each_damage_of_members_can_be_done(sound, rule):
    changed = 0
    for number in range(12):
        memory = io.BytesIO(sound[number % len(sound)])
        with h5py.File(memory, "r+") as file:
            try:
                rule[1](file, random.Random(number))
            except (KeyError, ValueError, TypeError, OSError, RuntimeError):
                continue
        changed += memory.getvalue() != sound[number % len(sound)]
    assert changed > 3


def defect_of(monkeypatch: pytest.MonkeyPatch, sound: list[bytes], work: Path, read: Any, limits: Limits = LIMITS) -> list[str]:
    """What is said of three files of which the second one is read by `read`."""
    count = iter(range(3))
    monkeypatch.setattr(trial, "is_circuit", lambda path: next(count) == 1 and read(path))
    monkeypatch.setattr(trial, "read", lambda _: (_ for _ in ()).throw(UserError(f"{work / worker.CASE}: refused")))
    found = list(results(sound, 0, range(3), work, limits))
    assert [result.outcome.kind for result in found if result.number != 1] == ["refused", "refused"]
    return [result.outcome.detail for result in found if result.outcome.kind == "defect"]


def raising(error: Exception) -> Any:
    def read(_: Path) -> None:
        raise error

    return read


class Careless(UserError):
    """Says what a file says, as it is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def __str__(self) -> str:
        return self.text


def message(text: str) -> Any:
    def read(path: Path) -> None:
        raise Careless(f"{path}{text}")

    return read


@pytest.mark.parametrize(
    ("read", "limits", "said"),
    [
        (raising(KeyError("x")), LIMITS, "KeyError: 'x'"),
        (raising(UserError("somewhere: wrong")), LIMITS, "a message that does not begin with the file"),
        (message(": one\ntwo"), LIMITS, "a message of several lines"),
        (message(": \x1b[31m"), LIMITS, "with control characters"),
        (message(": \udcff"), LIMITS, "a message that cannot be printed"),
        (message(": " + "x" * 2000), LIMITS, "a message of 20"),
        (lambda _: os.kill(os.getpid(), signal.SIGSEGV), LIMITS, "crash: the process ended with -11"),
        (lambda _: time.sleep(60), Limits(seconds=1.5), "hang: no end within 1.5 s"),
        (lambda _: bytearray(b"x" * (200 << 20)) and False, Limits(megabytes=150), "MB of memory taken"),
        (lambda _: bytearray(b"x" * (900 << 20)) and False, Limits(megabytes=150), "MemoryError"),
    ],
)
def test_every_kind_of_defect_is_found_and_the_next_file_tried(monkeypatch, sound, tmp_path, read, limits, said):
    (found,) = defect_of(monkeypatch, sound, tmp_path, read, limits)
    assert said in found


def test_a_message_that_stands_for_lack_of_memory_is_a_defect(monkeypatch, sound, tmp_path):
    def read(path: Path) -> None:
        try:
            raise MemoryError
        except MemoryError as error:
            raise UserError(f"{path}: damaged") from error

    (found,) = defect_of(monkeypatch, sound, tmp_path, read)
    assert "memory beyond the limit" in found


def test_a_file_that_shows_a_defect_is_kept_and_the_command_ends_with_1(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["fuzz_net", "--files", "3", "--seed", "4", "--keep", str(tmp_path)])
    assert fuzz_net.main() == 0
    assert not any(tmp_path.iterdir())
    assert capsys.readouterr().out.startswith("3 files from 13 sound ones, seed 4: ")
    monkeypatch.setattr(trial, "is_circuit", raising(ZeroDivisionError()))
    monkeypatch.setattr(sys, "argv", ["fuzz_net", "--only", "2", "--seed", "4", "--keep", str(tmp_path)])
    assert fuzz_net.main() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["4-2.net"]
    output = capsys.readouterr()
    assert "1 defect" in output.out
    assert "ZeroDivisionError" in output.err


def test_recorded_files_are_damaged_too(tmp_path, sound):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.net").write_bytes(b"recorded")
    assert seeds(tmp_path, tmp_path)[-1] == b"recorded"
    assert len(seeds(tmp_path, tmp_path)) == len(sound) + 1
