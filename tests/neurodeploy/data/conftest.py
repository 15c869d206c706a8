"""Real data, laid out as its publishers do, and small archives and servers to fetch them from."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PACKED = Path(__file__).resolve().parents[4] / "shared" / "data" / "packed"


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Unpacks a real data set by its name, once; skips the test where it is absent."""
    root = tmp_path_factory.mktemp("official")

    @cache
    def unpacked(name: str) -> Path:
        if not list(PACKED.glob(f"{name}*.xz")):
            pytest.skip(f"no real {name} data at {PACKED}")
        subprocess.run([sys.executable, "unpack.py", str(root), name], cwd=PACKED, check=True, capture_output=True)
        return root / name

    yield unpacked
    shutil.rmtree(root)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which a local server offers its files."""
    folder = tmp_path / "publisher"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
