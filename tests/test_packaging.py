"""What is installed is what was declared: exact versions that fit their bounds and each other, and a script for the lowest."""

import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import neurodeploy
from checks.lowest import PROJECT, lowest, requirements

CONSTRAINTS = PROJECT.with_name("constraints.txt")
HOMES = {"neurodeploy": ".", "neurodeploy_exporters": "exporters", "neurodeploy_energy": "energy"}
PYTHONS = ("3.11", "3.12", "3.13")


def pins(python: str) -> dict[str, Version]:
    """Package → its exact version for this Python on Linux."""
    environment = {**default_environment(), "sys_platform": "linux", "platform_machine": "x86_64"}
    environment |= {"python_version": python, "python_full_version": f"{python}.9", "implementation_name": "cpython"}
    lines = (Requirement(line.partition("#")[0]) for line in CONSTRAINTS.read_text("utf-8").splitlines() if line[0] not in "# ")
    kept = [line for line in lines if line.marker is None or line.marker.evaluate(environment)]
    found = {canonicalize_name(line.name): Version(str(line.specifier).removeprefix("==")) for line in kept}
    assert len(found) == len(kept)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_one_exact_version_within_its_bounds(python):
    exact = pins(python)
    for requirement in map(Requirement, requirements()):
        if requirement.name != "onnxruntime-gpu":  # never beside onnxruntime
            assert requirement.specifier.contains(exact[canonicalize_name(requirement.name)]), requirement


def test_no_exact_version_contradicts_what_a_package_asks_for():
    exact = pins("{}.{}".format(*sys.version_info))
    for package in distributions():
        name = canonicalize_name(package.name)
        if name not in exact or Version(package.version).public != str(exact[name]):
            continue
        for requirement in map(Requirement, package.requires or ()):
            wanted = canonicalize_name(requirement.name)
            if wanted in exact and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                assert requirement.specifier.contains(exact[wanted], prereleases=True), (name, requirement)


def test_the_lowest_versions_are_the_lower_bounds():
    asked = ["torch>=2.11", "mkdocstrings[python]>=1.0", "Torch>=2.11", "triton>=3.6; sys_platform == 'linux'"]
    assert lowest(asked[:2]) == ["mkdocstrings==1.0", "torch==2.11"]
    assert lowest(asked[3:]) == ["triton==3.6; sys_platform == 'linux'"]
    with pytest.raises(ValueError, match="'numpy': `name>=version` expected"):
        lowest(["numpy"])
    with pytest.raises(ValueError, match=r"optuna: one lower bound expected, optuna==4 and optuna==5 found"):
        lowest(["optuna>=4", "optuna>=5"])
    assert len(lowest(requirements())) > 20


def test_every_file_of_a_package_is_in_the_wheel():
    """A file that no pattern names is missing after `pip install`, and there alone."""
    data = tomllib.loads(PROJECT.read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    folders = {name: PROJECT.parent / place / name for name, place in HOMES.items()}
    if not all((folder / "__init__.py").is_file() for folder in folders.values()):
        pytest.skip("the packages are installed, and their sources are not here")
    assert folders.keys() == data.keys()
    for name, patterns in data.items():
        folder = folders[name]
        named = {path for pattern in patterns for path in folder.glob(pattern)}
        files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
        assert files == named
        assert folder / "py.typed" in files


def test_the_version_is_that_of_the_newest_section_of_the_changelog():
    newest = re.search(r"^## \[(.*?)\]", Path(PROJECT.with_name("CHANGELOG.md")).read_text("utf-8"), re.MULTILINE)
    assert neurodeploy.__version__ == newest[1]
