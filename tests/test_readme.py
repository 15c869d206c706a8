"""The README's Python runs as it is written, and its commands are those of the command line."""

import json
import re
import sys
from pathlib import Path

import pytest

from neurodeploy.app import verbs
from neurodeploy.cli.main import app
from neurodeploy.recipe import parse, text_of

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
OWN_NETWORK, FEW_LINES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
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


MY_NET = """
import torch
from torch import nn
from torch.nn import functional as F

from neurodeploy.data import Digits


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.Linear(96, 10)

    def forward(self, x):
        x = F.relu(self.conv1((x - 0.3) / 0.4))
        return self.fc(F.relu(self.conv2(x)).flatten(1))


torch.manual_seed(0)
ann, data = Net(), Digits().load()
samples, train_set = data.train_samples[:100], (data.train_samples[:400], data.train_labels[:400])
"""


@pytest.mark.filterwarnings("error::DeprecationWarning")
def test_a_network_of_ones_own_is_distilled_deployed_verified_and_accounted_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_net.py").write_text(MY_NET)
    monkeypatch.delitem(sys.modules, "my_net", raising=False)
    exec(compile(OWN_NETWORK, "README.md", "exec"), {})
    sys.modules.pop("my_net")  # not by monkeypatch, which would put it back
    printed = capsys.readouterr().out
    assert dict(CHECKED.findall(printed)) == {"relu": "0", "relu_2": "0"}
    assert "changes are against Net" in " ".join(printed.split())


def test_the_numbers_of_the_demo_are_those_of_its_summary():
    """`tests/files/energy/demo_summary.json` is the summary that `neurodeploy run digits` wrote."""
    found = json.loads((Path(__file__).parent / "files" / "energy" / "demo_summary.json").read_text())

    def shown(section, key, digits):
        return f"{section[key]:,.{digits}f} ± {section[f'{key}_interval']:,.{digits}f}"

    rows = {"teacher": "teacher (ReLU)", "baseline": "baseline (plain LIF)", "student": "distilled student"}
    for role, name in rows.items():
        cells = [shown(found[role], "accuracy", 1)]
        if role != "teacher":
            cells += [shown(found[role], "spikes_per_sample", 0), shown(found["deployed"], f"{role}_uj", 3)]
        assert f"| {name} | {' | '.join(cells)} |" in README
    change, half = (abs(found["deployed"][key]) for key in ("change_percent", "change_percent_interval"))
    assert f"costs {change:.1f} % ± {half:.1f} % less energy per image" in README
    assert f"(`{found['deployed']['chip_profile']}`, host `{found['deployed']['host_profile']}`)" in README
    assert {*found["deployed"]["student_cuts"], *found["deployed"]["baseline_cuts"]} == {"last-synapse"}
    arithmetic = found["energy"]["other_profiles"]["cmos45-fp32"]
    assert f"falls from {arithmetic['baseline_uj']:.3f} to {arithmetic['student_uj']:.3f} µJ" in README
    saved = (found["student"][key] for key in ("spikes_saved_percent", "spikes_saved_percent_interval"))
    assert "fires {:.0f} % ± {:.0f} % fewer spikes".format(*saved) in " ".join(README.split())
    assert found["verify"]["onnx_mismatched_spikes"] == found["verify"]["lava_mismatched_spikes"] == 0


def test_the_readme_lists_every_command_of_the_command_line():
    listed = set(re.findall(r"^\| `neurodeploy (\w+)", README, re.MULTILINE))
    assert listed == {command.name for command in app.registered_commands}


def test_every_file_that_the_readme_links_to_exists():
    root = Path(__file__).resolve().parents[1]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert all((root / link).exists() for link in links)
