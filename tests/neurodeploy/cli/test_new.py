"""`neurodeploy new` writes a project that runs."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

MODULES = ("my_data", "my_network", "my_loss")


@pytest.fixture
def project(cli, tmp_path, monkeypatch):
    outcome = cli("new", tmp_path / "mine")
    assert outcome.code == 0, outcome.err
    monkeypatch.chdir(tmp_path / "mine")
    yield tmp_path / "mine"
    for name in MODULES:
        sys.modules.pop(name, None)


def test_its_own_test_passes(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))  # as pytest does with the folder of a test
    tests = {name: test for name, test in runpy.run_path("test_project.py").items() if name.startswith("test_")}
    assert len(tests) == 3
    for test in tests.values():
        test()


def test_the_commands_of_its_readme_run(project, cli):
    recipe = project / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("epochs = 5", "epochs = 1").replace("= 0.25", "= 0.05").replace("= 16", "= 4"))
    lines = re.search(r"```sh\n(.*?)```", Path("README.md").read_text(), re.DOTALL)[1].splitlines()
    commands = [line.partition("#")[0].split() for line in lines]
    assert [words[:2] for words in commands] == [
        ["python", "-m"],
        *(["neurodeploy", verb] for verb in ("train", "evaluate", "run", "compare")),
    ]
    for _, *arguments in commands[1:]:
        outcome = cli(*arguments)
        assert outcome.code == 0, outcome.err
    assert "verified" in cli("verify", "runs/first/seed-0/bundles/lava").out


def test_a_folder_with_something_in_it_is_refused_and_an_empty_one_filled(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    written = json.loads(cli("new", tmp_path / "empty", "--json").out)["files"]
    assert sorted(written) == sorted(path.name for path in (tmp_path / "empty").iterdir())
    before = {path.name: path.read_text() for path in (tmp_path / "empty").iterdir()}
    (tmp_path / "empty" / "my_data.py").write_text("mine = 1\n")
    for place, what in (("empty", "a folder that is not empty"), ("empty/my_data.py", "a file")):
        refused = cli("new", tmp_path / place)
        assert refused.code == 2
        assert f"{what} found, a new or empty folder expected" in refused.err
    after = {path.name: path.read_text() for path in (tmp_path / "empty").iterdir()}
    assert after == before | {"my_data.py": "mine = 1\n"}
