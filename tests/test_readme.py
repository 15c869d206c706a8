"""The README's Python runs as it is written, and its commands are those of the command line."""

import re
from pathlib import Path

import pytest

from neurodeploy.app import verbs
from neurodeploy.cli.main import app
from neurodeploy.recipe import parse, text_of

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
FEW_LINES, OWN_NETWORK = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
BRIEF = (  # the recipe that the few lines name, with fewer epochs and seeds
    text_of("digits").replace("epochs = 20", "epochs = 2").replace("epochs = 40", "epochs = 2").replace("[0, 1, 2]", "[0]")
)
CHECKED = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_the_few_lines_train_export_verify_and_account(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verbs, "load_recipe", {"digits": parse(BRIEF, origin="README.md")}.__getitem__)
    exec(compile(FEW_LINES, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^student +4 ", printed, re.MULTILINE)
    assert dict(CHECKED.findall(printed)) == {"act1": "0", "act2": "0", "act3": "0"}
    assert "changes are" in printed
    assert (tmp_path / "runs" / "digits" / "report" / "report.html").is_file()


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_the_network_of_ones_own_is_deployed_verified_and_accounted_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(OWN_NETWORK, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert set(dict(CHECKED.findall(printed)).values()) == {"0"}
    assert "Estimated energy per sample" in printed


def test_the_readme_lists_every_command_of_the_command_line():
    listed = set(re.findall(r"^\| `neurodeploy (\w+)", README, re.MULTILINE))
    assert listed == {command.name for command in app.registered_commands}


def test_every_file_that_the_readme_links_to_exists():
    root = Path(__file__).resolve().parents[1]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert all((root / link).exists() for link in links)
