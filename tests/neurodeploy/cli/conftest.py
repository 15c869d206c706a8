"""Running the command line in this process, and one small finished run that the tests of the commands share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from neurodeploy.cli import console as console_module
from neurodeploy.cli.main import main
from neurodeploy.recipe import text_of

SMALL = (
    text_of("digits")
    .replace("channels = [16, 32, 32, 64]", "channels = [4, 6, 6, 8]")
    .replace("epochs = 20", "epochs = 4")
    .replace("epochs = 40", "epochs = 4")
    .replace("seeds = [0, 1, 2]", "seeds = [0, 1]")
    .replace("samples = 500", "samples = 20")
)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys, monkeypatch) -> Cli:
    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["neurodeploy", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        for console in (console_module.out, console_module.err):
            monkeypatch.setattr(console, "width", 200)  # which it may have taken from the environment at its import
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, recipe_file) -> Path:
    """The folder of a small run, trained, exported, verified and reported."""
    root = tmp_path_factory.mktemp("runs") / "small"
    arguments = sys.argv
    sys.argv = ["neurodeploy", "run", str(recipe_file), "--output", str(root), "--device", "cpu"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code  # noqa: PT017 - the command line always exits
    finally:
        sys.argv = arguments
    return root


@pytest.fixture
def student(finished) -> Path:
    return finished / "seed-0" / "student" / "checkpoint.safetensors"
