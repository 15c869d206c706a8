"""Runs the notebooks as tests (`--nbmake`), and finds the real data sets that they name.

A notebook names its data sets in its own metadata, as recipes do: `"neurodeploy": {"data": ["cifar10"]}`. They come from
`$NEURODEPLOY_DATA` where that is given; else from packed data beside the checkout, unpacked once per session for all workers of
xdist; else from the default folder of each, into which `--download-data` may fetch them. Where none has them, the notebook is
skipped, with the reason. Kernels inherit the environment of the test process.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER_VARIABLE = "NEURODEPLOY_DATA"
PACKED = Path(__file__).resolve().parents[2] / "shared" / "data" / "packed"
DOWNLOAD = "--download-data"
_UNPACKED = pytest.StashKey[Path]()
_SHARED = "notebook_data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(DOWNLOAD, action="store_true", help="let notebooks download the data sets that they need")


def pytest_configure(config: pytest.Config) -> None:
    shared = getattr(config, "workerinput", {}).get(_SHARED)
    if shared is None:
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        shared = folder.name
    config.stash[_UNPACKED] = Path(shared)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tells a worker of xdist where all of them unpack to."""
    node.workerinput[_SHARED] = str(node.config.stash[_UNPACKED])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with pytest.MonkeyPatch.context() as environment:
        if not os.environ.get(FOLDER_VARIABLE):
            for kind in named_data(item.path):
                if list(PACKED.glob(f"{kind}*.xz")):
                    environment.setenv(FOLDER_VARIABLE, str(_unpacked(kind, item.config.stash[_UNPACKED])))
                else:
                    _in_default_folder(kind, download=item.config.getoption(DOWNLOAD, default=False))
        return (yield)


def named_data(notebook: Path) -> list[str]:
    """The kinds of data sets that a notebook's metadata names."""
    return json.loads(notebook.read_text()).get("metadata", {}).get("neurodeploy", {}).get("data", [])


def _unpacked(kind: str, root: Path) -> Path:
    """`root`, with the data set in its folder `kind`: whichever process comes first unpacks it, the others wait."""
    with _alone(root):
        if not (root / kind).exists():
            with tempfile.TemporaryDirectory(dir=root) as partial:
                subprocess.run([sys.executable, "unpack.py", partial, kind], cwd=PACKED, check=True, capture_output=True)
                Path(partial, kind).rename(root / kind)
    return root


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _in_default_folder(kind: str, *, download: bool) -> None:
    """Looks for a data set where its settings look by themselves, downloads it if allowed, and else skips the notebook."""
    from pydantic import TypeAdapter  # here, as torch is slow to import and few runs come this way

    from neurodeploy.data import AnyDataSet
    from neurodeploy.io.errors import UserError

    settings = {"kind": kind, "download": download, "train_limit": 1, "test_limit": 1}
    try:
        TypeAdapter(AnyDataSet).validate_python(settings).load()
    except UserError as missing:
        pytest.skip(f"{missing} (`pytest {DOWNLOAD}` downloads what can be)")
