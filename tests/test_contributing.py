"""The examples of CONTRIBUTING.md and docs/add-a-method.md: one file and one line each, in a copy of the package, and a recipe
trains with it."""

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE, PAGE = ((ROOT / place).read_text("utf-8") for place in ("CONTRIBUTING.md", "docs/add-a-method.md"))
EXAMPLE = re.compile(
    r"Write `(?P<file>\S+)`:\n\n```python\n(?P<code>.*?)```\n\n"
    r"Register it by one line in `(?P<registry>\S+)`:\n\n```python\n(?P<line>[^\n]*\n)```\n\n"
    r"Recipes can now say\n\n```toml\n(?P<setting>(?P<key>\w+) = [^\n]*)\n```",
    re.DOTALL,
)
SECTIONS = ("loss term", "network", "data set")
PLACES = [*((GUIDE, f"## Adding a {section}") for section in SECTIONS), (PAGE, "## The term")]
TEST = re.compile(r"in `(?P<file>tests/\S+)`:\n\n```python\n(?P<code>.*?)```", re.DOTALL)
SETTINGS = {
    "data": 'data = { kind = "digits" }',
    "network": 'network = { kind = "conv", channels = [4], strides = [2] }',
    "loss": 'loss = [{ kind = "cross-entropy" }]',
}
RECIPE = """
name = "example"
steps = 2
baseline = "student"
deployed = "student"
teacher = {{ epochs = 1 }}
{data}
{network}

[[student]]
name = "student"
training = {{ epochs = 1 }}
{loss}
"""


@pytest.mark.parametrize(("guide", "section"), PLACES, ids=[*SECTIONS, "page"])
def test_an_example_is_one_file_and_one_line_and_trains(tmp_path, guide, section):
    example = EXAMPLE.search(guide, guide.index(section))
    copy_with(tmp_path, example)
    lint = [sys.executable, "-m", "ruff", "check", "--fixable", "I", "--fix", example["file"], example["registry"]]
    assert run(tmp_path, *lint).returncode == 0
    (tmp_path / "example.toml").write_text(RECIPE.format(**SETTINGS | {example["key"]: example["setting"]}))
    trained = run(tmp_path, sys.executable, "-m", "neurodeploy", "train", "example.toml", "--device", "cpu", "--output", "run")
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "seed-0" / "student" / "checkpoint.safetensors").is_file()
    assert len(re.findall("test accuracy [0-9]", trained.stdout)) == 2


def test_there_is_one_example_for_each():
    assert len(EXAMPLE.findall(GUIDE)) == len(SECTIONS)
    assert len(EXAMPLE.findall(PAGE)) == 1


def test_the_test_of_the_page_passes_and_can_fail(tmp_path):
    copy_with(tmp_path, EXAMPLE.search(PAGE))
    example = TEST.search(PAGE)
    wrong = example["code"].replace("(rate=0.25)", "(rate=0.5)")
    for name, code in (("test_example.py", example["code"]), ("test_wrong.py", wrong)):
        (tmp_path / name).write_text(code)
    outcome = run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py", "test_wrong.py")
    assert "FAILED test_wrong.py" in outcome.stdout
    assert "1 failed, 1 passed" in outcome.stdout


def copy_with(folder: Path, example: re.Match[str]) -> None:
    """A copy of the package that has the example's file and line."""
    copy_of_the_package(folder)
    (folder / example["file"]).write_text(example["code"])
    registry = folder / example["registry"]
    lines = registry.read_text().splitlines(keepends=True)
    last_import = max(i for i, line in enumerate(lines) if line.startswith("from neurodeploy."))
    registry.write_text("".join([*lines[:last_import], example["line"], *lines[last_import:]]))


def copy_of_the_package(folder: Path) -> None:
    for name in ("neurodeploy", "neurodeploy_energy", "neurodeploy_exporters"):
        source = Path(import_module(name).__file__).parent
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Where the copy is what is imported."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
