"""Bodies to simulate, and Pythons that have SANA-FE or something like it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "files" / "sanafe"

STAND_IN = """#!{python}
import runpy, sys
sys.path.insert(0, {packages!r})
assert sys.argv[1] == "-I"
if sys.argv[2] == "-c":
    exec(sys.argv[3])
else:
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""

RECORDED = """#!{python}
import hashlib, pathlib, shutil, sys
if sys.argv[2] == "-c":
    print("sanafe 2.2.0")
    sys.exit()
folder, recorded = pathlib.Path(sys.argv[3]), pathlib.Path({recorded!r})
found = hashlib.sha256((folder / "job.json").read_bytes() + (folder / "job.bin").read_bytes()).hexdigest()
if found != (recorded / "job.sha256").read_text().strip():
    sys.exit("another job than the recorded one: " + found)
shutil.copy(recorded / "result.json", folder)
shutil.copy(recorded / "result.bin", folder)
"""


def script(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def stand_in(tmp_path) -> Callable[..., Path]:
    """A Python with a stand-in for SANA-FE; `quirk` as there."""

    def make(quirk: str = "") -> Path:
        packages = tmp_path / f"packages{quirk}"
        (packages / "sanafe" / "examples").mkdir(parents=True)
        code = (FILES / "stand_in.py").read_text("utf-8").replace('QUIRK = ""', f"QUIRK = {quirk!r}")
        (packages / "sanafe" / "__init__.py").write_text(code, "utf-8")
        (packages / "sanafe" / "examples" / "loihi.yaml").write_bytes((FILES / "loihi.yaml").read_bytes())
        (packages / "sanafe-2.2.0.dist-info").mkdir()
        (packages / "sanafe-2.2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sanafe\nVersion: 2.2.0\n")
        return script(tmp_path / f"python{quirk}", STAND_IN.format(python=sys.executable, packages=str(packages)))

    return make


@pytest.fixture
def recorded(tmp_path) -> Callable[[str], Path]:
    """A program that answers a job as SANA-FE 2.2.0 answered it; `checks/sana_fe.py --record` wrote its answers."""

    def make(case: str) -> Path:
        return script(tmp_path / f"recorded-{case}", RECORDED.format(python=sys.executable, recorded=str(FILES / case)))

    return make


@pytest.fixture(scope="session")
def real() -> Path:
    """The Python that has SANA-FE, where there is one."""
    given = os.environ.get("NEURODEPLOY_SANA_FE")
    if not given:
        pytest.skip("NEURODEPLOY_SANA_FE names no Python that has SANA-FE")
    return Path(given)
