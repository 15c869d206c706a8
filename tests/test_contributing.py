"""The examples of CONTRIBUTING.md and docs/add-a-method.md: one file and one line each, in a copy of the package, and a recipe
trains with it."""

import json
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
SECTIONS = ("loss term", "network", "data set", "neuron")
PLACES = [*((GUIDE, f"## Adding a {section}") for section in SECTIONS), (PAGE, "## The term")]
TEST = re.compile(r"in `(?P<file>tests/\S+)`:\n\n```python\n(?P<code>.*?)```", re.DOTALL)
WRITE = re.compile(r"Write `(?P<file>\S+)`:\n\n```python\n(?P<code>.*?)```", re.DOTALL)
LINE = re.compile(r"Register it by one line in `(?P<file>\S+)`:\n\n```python\n(?P<line>[^\n]*\n)```")
ADD = re.compile(r"Add to `(?P<file>\S+)`:\n\n```python\n(?P<code>.*?)```", re.DOTALL)
SETTINGS = {
    "data": 'data = { kind = "digits" }',
    "network": 'network = { kind = "conv", channels = [4], strides = [2] }',
    "loss": 'loss = [{ kind = "cross-entropy" }]',
    "neuron": 'neuron = { kind = "lif" }',
}
RECIPE = """
name = "example"
steps = 2
baseline = "student"
deployed = "student"
teacher = {{ epochs = 1 }}
{data}
{network}
{neuron}

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


def test_a_neuron_of_five_files_is_trained_exported_verified_refused_by_name_and_accounted_for(tmp_path):
    start = GUIDE.index("## Adding a neuron")
    section = GUIDE[start : GUIDE.index("\n## ", start)]
    files = with_section(tmp_path, section)
    assert len(files) <= 5
    assert run(tmp_path, sys.executable, "-m", "ruff", "check", "--ignore", "I001", *files).returncode == 0
    checked = run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TEST.search(section)["file"])
    assert checked.returncode == 0, checked.stdout

    setting = EXAMPLE.search(section)["setting"]
    network = 'network = { kind = "conv", channels = [4, 6, 6], strides = [2, 2, 1] }'
    (tmp_path / "example.toml").write_text(RECIPE.format(**SETTINGS | {"neuron": setting, "network": network}))
    student = "run/seed-0/student/checkpoint.safetensors"
    refusals = {
        "nir": "has no form in NIR, which knows standard neurons alone: its neurons carry values from step to step",
        "lava": "has no form on Loihi, whose neurons are LIF neurons of one decay and threshold in a layer: its neurons carry",
    }
    outcomes = commands(
        tmp_path,
        ["train", "example.toml", "--device", "cpu", "--output", "run"],
        *(
            ["export", student, "--target", "onnx", "--quantize", quantize, "--output", quantize]
            for quantize in ("none", "exact")
        ),
        ["verify", "exact/onnx"],
        ["energy", student, "--output", "report"],
        *(["export", student, "--target", target, "--output", "refused"] for target in refusals),
    )
    for code, out, err in outcomes[:5]:
        assert code == 0, out + err
    assert '"allowed_mismatched_spikes": 0' in (tmp_path / "exact/onnx/manifest.json").read_text()
    for (target, reason), (code, _, err) in zip(refusals.items(), outcomes[5:], strict=True):
        assert code == 2
        assert f"node act2 (Cell): {reason}" in err
        assert not (tmp_path / "refused" / target).exists()
    assert all(layer in outcomes[4][1] for layer in ("act1", "act2", "act3"))


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
    add_line(folder / example["registry"], example["line"])


def with_section(folder: Path, section: str) -> set[str]:
    """A copy of the package with all that a section writes, and the names of those files."""
    copy_of_the_package(folder)
    files = set()
    for pattern in (WRITE, LINE, ADD, TEST):
        for found in pattern.finditer(section):
            name = re.sub("^(exporters|energy)/", "", found["file"])
            files.add(name)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if pattern is LINE:
                add_line(path, found["line"])
            else:
                path.write_text((path.read_text() + "\n\n" if pattern is ADD else "") + found["code"])
    return files


def add_line(registry: Path, line: str) -> None:
    lines = registry.read_text().splitlines(keepends=True)
    last_import = max(i for i, line in enumerate(lines) if line.startswith("from neurodeploy."))
    registry.write_text("".join([*lines[:last_import], line, *lines[last_import:]]))


def copy_of_the_package(folder: Path) -> None:
    for name in ("neurodeploy", "neurodeploy_energy", "neurodeploy_exporters"):
        source = Path(import_module(name).__file__).parent
        shutil.copytree(source, folder / name)  # and what is compiled; what an example changes is compiled anew
    shutil.copy(ROOT / "pyproject.toml", folder)


COMMANDS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from neurodeploy.cli.main import main

outcomes = []
for arguments in json.loads(sys.argv[1]):
    sys.argv, code = ["neurodeploy", *arguments], 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    outcomes.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(outcomes))
"""


def commands(folder: Path, *each: list[str]) -> list[tuple[int, str, str]]:
    """Exit code, output and error of commands, one after the other in one process: every process imports torch anew."""
    done = run(folder, sys.executable, "-c", COMMANDS, json.dumps(each))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Where the copy is what is imported."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
