"""Where a bundle comes from, as far as the machine that writes it knows: versions, and the commit of the repository."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from neurodeploy.io.version import VERSION
from neurodeploy_exporters.bundle import BundleProvenance

_PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "h5py", "nir")


def completed(known: BundleProvenance) -> BundleProvenance:
    """With the versions that compute here, and the commit of the repository that this was started in."""
    return known.model_copy(update={"versions": _versions(), "commit": commit_of(Path.cwd())})


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "neurodeploy": VERSION}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit_of(folder: Path) -> str:
    """The commit that is checked out in the repository around a folder; empty where there is none, or it cannot be read."""
    for place in (folder, *folder.parents):
        git = place / ".git"
        try:
            if git.is_file():  # a work tree of its own
                git = place / git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")
            if not (git / "HEAD").is_file():
                continue
            head = (git / "HEAD").read_text(encoding="utf-8").strip()
            return head if not head.startswith("ref: ") else _referred(git, head.removeprefix("ref: "))
        except (OSError, UnicodeDecodeError):
            return ""
    return ""


def _referred(git: Path, name: str) -> str:
    common = git / "commondir"
    roots = [git, git / common.read_text(encoding="utf-8").strip()] if common.is_file() else [git]
    for root in roots:
        if (root / name).is_file():
            return (root / name).read_text(encoding="utf-8").strip()
        packed = root / "packed-refs"
        for line in packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else ():
            commit, _, referred = line.partition(" ")
            if referred == name:
                return commit
    return ""
