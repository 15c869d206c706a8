"""A bundle says where it comes from."""

import subprocess

from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.provenance import commit_of


def test_a_bundle_names_the_versions_that_made_it(bundles):
    for folder in bundles.values():
        provenance = read_bundle(folder).manifest.provenance
        assert {"python", "neurodeploy", "torch", "numpy", "onnx"} <= provenance.versions.keys()


def test_the_commit_is_that_of_the_repository_around_a_folder(tmp_path):
    assert commit_of(tmp_path) == ""
    (tmp_path / "inner").mkdir()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert commit_of(tmp_path / "inner") == ""
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit_of(tmp_path / "inner") == head
    subprocess.run([*git, "pack-refs", "--all"], check=True)
    assert commit_of(tmp_path / "inner") == head
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    assert commit_of(tmp_path) == head
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "more"], check=True)
    assert commit_of(tmp_path / "tree") == head
