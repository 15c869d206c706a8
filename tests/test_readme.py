"""The README's Python runs as it stands, and its commands are those of the command line."""

import re
from pathlib import Path

from neurodeploy.cli.main import app

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def test_the_python_example_of_the_readme_runs_and_its_bundle_verifies(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    spikes, mismatches = capsys.readouterr().out.splitlines()
    assert int(spikes.split()[0]) > 0
    assert set(eval(mismatches).values()) == {0}
    assert (tmp_path / "runs" / "my-network" / "report.html").is_file()


def test_the_readme_lists_every_command_of_the_command_line():
    listed = set(re.findall(r"^\| `neurodeploy (\w+)", README, re.MULTILINE))
    assert listed == {command.name for command in app.registered_commands}


def test_every_file_that_the_readme_links_to_exists():
    root = Path(__file__).resolve().parents[1]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert all((root / link).exists() for link in links)
