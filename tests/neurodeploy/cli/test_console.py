"""What reaches a terminal: no command in a name, and no letter that its encoding does not know."""

import io
import json
import subprocess
import sys

import pytest
from rich.table import Table

from neurodeploy.cli.console import PlainConsole, print_json

ODD = "\x1b[31mred\x9b\u202e"


def printed(*parts, encoding="utf-8"):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = PlainConsole(file=file, width=100, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def test_names_are_spelled_out_alone_and_in_tables():
    table = Table(ODD, title=ODD, caption=ODD)
    table.add_row(ODD)
    text = printed(ODD, table)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("\\x1b[31mred\\x9b\\u202e") == 5


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_is_not_for_utf_8_gets_other_letters_in_columns_of_the_same_width(encoding):
    table = Table("µJ × 10")
    table.add_row("5 ± 1 – Σ ⌈γ⌉ 電")
    text = printed(table, encoding=encoding)
    assert ("uJ x 10" if encoding == "ascii" else "µJ × 10") in text
    assert len(set(map(len, text.splitlines()))) == 1


def test_json_is_json_on_any_terminal(monkeypatch):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", file)
    print_json(json.dumps({"unit": "µJ"}, ensure_ascii=False))
    assert json.loads(file.buffer.getvalue()) == {"unit": "µJ"}


@pytest.mark.parametrize("arguments", [["profiles"], ["profiles", "cmos45-fp32"], ["profiles", "µ"]])
def test_a_command_does_not_fail_over_letters(arguments):
    program = "import sys; from neurodeploy.cli.main import main; sys.argv[0] = 'neurodeploy'; main()"
    command = [sys.executable, "-X", "utf8=0", "-c", program, *arguments]
    done = subprocess.run(command, env={"PYTHONIOENCODING": "ascii", "PATH": ""}, capture_output=True, timeout=120, check=False)
    assert b"Traceback" not in done.stderr, done.stderr
    assert done.returncode == (2 if arguments[-1] == "µ" else 0)
    assert (done.stdout + done.stderr).isascii()
