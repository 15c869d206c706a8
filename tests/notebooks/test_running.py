"""How the notebooks run as tests: where their real data come from, and when they are skipped."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
UNPACK = """
import sys
from pathlib import Path
for kind in sys.argv[2:]:
    folder = Path(sys.argv[1], kind)
    folder.mkdir()
    (folder / "origin").write_text("packed")
    with Path("unpacked.log").open("a") as log:
        log.write(kind + " ")
"""
CODE = """
import os
from pathlib import Path
assert os.environ.get("OMP_NUM_THREADS") == "1"
folder = Path(os.environ.get("NEURODEPLOY_DATA") or Path.home() / ".cache" / "neurodeploy")
assert {origin!r} == (folder / "mnist" / "origin").read_text()
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout's notebooks: some read real data from the named origin, one reads none."""

    def make(origin, *names, packed=False):
        root = tmp_path / "checkout"
        (root / "notebooks").mkdir(parents=True)
        shutil.copy(NOTEBOOKS / "conftest.py", root / "notebooks")
        for name in names:
            _write(root / "notebooks" / f"{name}.ipynb", CODE.format(origin=origin), ["mnist"])
        _write(root / "notebooks" / "none.ipynb", "print(1)", [])
        if packed:
            folder = tmp_path / "shared" / "data" / "packed"
            folder.mkdir(parents=True)
            (folder / "unpack.py").write_text(UNPACK)
            (folder / "mnist.npz.xz").touch()
        return root

    return make


def _write(path, code, data):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["neurodeploy"] = {"data": data}
    nbformat.write(notebook, path)


def _pytest(root, *options, **variables):
    """The run's last line and everything it said."""
    home = root.parent / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name != "NEURODEPLOY_DATA"}
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "--nbmake", "--rootdir", root, *options, root / "notebooks"],
        cwd=root,
        env={**kept, "OMP_NUM_THREADS": "1", "HOME": str(home), "TMPDIR": str(home), **variables},
        capture_output=True,
        text=True,
    )
    lines = finished.stdout.splitlines()
    return next(line for line in reversed(lines) if " in " in line and "==" in line), finished.stdout


def test_packed_data_are_unpacked_once_for_all_workers_and_removed_afterwards(checkout):
    root = checkout("packed", "one", "two", packed=True)
    last, said = _pytest(root, "-n", "2")
    assert "3 passed" in last, said
    assert (root.parent / "shared/data/packed/unpacked.log").read_text() == "mnist "
    assert not list((root.parent / "home").glob("tmp*/mnist"))


def test_the_folder_that_the_environment_names_wins_over_packed_data(checkout, tmp_path):
    given = tmp_path / "given" / "mnist"
    given.mkdir(parents=True)
    (given / "origin").write_text("given")
    last, said = _pytest(checkout("given", "one", packed=True), NEURODEPLOY_DATA=str(given.parent))
    assert "2 passed" in last, said


def test_without_data_a_notebook_that_names_some_is_skipped_with_the_reason(checkout):
    last, said = _pytest(checkout("nowhere", "one"))
    assert "1 passed, 1 skipped" in last, said
    assert "no mnist data found" in said


def test_a_failing_cell_fails_the_run(checkout):
    last, said = _pytest(checkout("another origin", "one", packed=True))
    assert "1 failed, 1 passed" in last, said


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_that_may_download_data_names_them(path):
    notebook = json.loads(path.read_text())
    code = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert "download" not in code or notebook["metadata"]["neurodeploy"]["data"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_saved_as_it_ran_without_a_trace_of_the_machine(path):
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert not [word for word in ("/tmp/", "/home/", "/root/", str(NOTEBOOKS.parent)) if word in json.dumps(outputs)]
    assert [output for output in outputs if "image/png" in output.get("data", {})], "its figures show nothing"
    assert path.stat().st_size < 600_000
