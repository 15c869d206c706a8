"""Builds the wheel twice, from two copies of the committed files at two times, and compares every byte.

A wheel keeps the permissions of its files, so that both are unpacked as `git` does it under the usual umask.

make reproducible
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def built(folder: Path, epoch: str) -> Path:
    """The wheel of the committed files, unpacked into a folder."""
    source = folder / "source"
    archive = subprocess.run(["git", "-C", _ROOT, "archive", "HEAD"], check=True, capture_output=True).stdout
    before = os.umask(0o022)
    try:
        source.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", source], input=archive, check=True)
        environment = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
        command = [sys.executable, "-m", "build", "--quiet", "--wheel", "--outdir", folder / "dist", source]
        subprocess.run([*map(str, command)], env=environment, check=True)
    finally:
        os.umask(before)
    return next((folder / "dist").glob("*.whl"))


def differences(one: Path, other: Path) -> list[str]:
    """Members of two wheels that are not equal."""
    contents = []
    for path in (one, other):
        with zipfile.ZipFile(path) as wheel:
            contents.append(
                {member.filename: (wheel.read(member), member.date_time, member.external_attr) for member in wheel.infolist()}
            )
    first, second = contents
    return sorted(name for name in first | second if first.get(name) != second.get(name))


def main() -> int:
    epoch = subprocess.run(
        ["git", "-C", _ROOT, "log", "-1", "--format=%ct"], check=True, capture_output=True, text=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="reproducible.") as name:
        first = built(Path(name, "first"), epoch)
        time.sleep(2)  # the smallest step of time in an archive
        second = built(Path(name, "second"), epoch)
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
        if digests[0] == digests[1]:
            print(f"{first.name}: built twice, SHA-256 {digests[0]}")
            return 0
        found = differences(first, second)
        print(f"{first.name}: two builds differ: {', '.join(found[:10]) or 'in the order of their members'}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
