"""Counting needs torch and numpy alone; names and modules of version 0.1 still work, and say the new ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import neurodeploy_energy

ALONE = """
import sys
ALLOWED = {"torch", "torchgen", "functorch", "numpy", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2",
           "markupsafe", "filelock", "fsspec", "packaging", "neurodeploy_energy"} | set(sys.stdlib_module_names)
OURS = ("neurodeploy", "neurodeploy.moved", "neurodeploy.io")

class Nothing:
    def find_spec(self, name, path=None, target=None):
        ours = name in OURS or name.startswith("neurodeploy.io.")
        if name.split(".")[0] not in ALLOWED and not ours:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Nothing())
import torch
from torch import nn
import neurodeploy_energy as energy

class Spike(nn.Module):
    def forward(self, current):
        return (current > 0.5).float()

energy.register_neuron("__main__.Spike", "step")
model = nn.Sequential(nn.Conv2d(1, 2, 3), Spike(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(18, 3))
report = energy.account(model, torch.rand(4, 1, 8, 8), profiles=("cmos45-int8+lemaire", "loihi1"))
print(report)
assert report.energy("loihi1").total_uj > 0 and report._repr_html_()
energy.record(model, torch.rand(1, 1, 8, 8))
for name in ("matplotlib", "rich", "pydantic", "pandas", "scipy", "onnx"):
    assert name not in sys.modules, name
"""


def test_counting_and_printing_need_torch_and_numpy_alone():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "mean per sample over 4 samples" in done.stdout


def test_the_old_verb_and_the_old_name_still_work_and_say_the_new_ones():
    with pytest.warns(DeprecationWarning, match=r"neurodeploy_energy\.profile is neurodeploy_energy\.account now"):
        assert neurodeploy_energy.profile is neurodeploy_energy.account
    with pytest.warns(DeprecationWarning, match=r"is neurodeploy_energy\.DeploymentEnergy now"):
        assert neurodeploy_energy.Deployment is neurodeploy_energy.DeploymentEnergy
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = neurodeploy_energy.nothing


OLD = """
import warnings
warnings.simplefilter("error", DeprecationWarning)
import neurodeploy_energy as energy
whole = energy.deployment
warnings.simplefilter("ignore", DeprecationWarning)
from neurodeploy_energy.cost import Profile, built_in, load, text_of
from neurodeploy_energy.deployment import Deployment, deployment
from neurodeploy_energy.report.terminal import drawn, energy_table, spike_line
from neurodeploy_energy.report.verdict_figures import verdict_along, verdict_by_profile
from neurodeploy_energy.twins import Verdict, flips, verdicts
import neurodeploy_energy.cost as cost
assert cost.load("loihi1").ac == load("loihi1").ac
assert energy.deployment is whole is deployment
try:
    from neurodeploy_energy.cost import nothing
except ImportError:
    pass
else:
    raise AssertionError
"""


def test_modules_that_the_guides_showed_hand_on_their_names():
    done = subprocess.run([sys.executable, "-c", OLD], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_first_use_of_a_moved_module_says_where_its_names_are():
    with pytest.warns(
        DeprecationWarning, match=r"neurodeploy_energy\.cost\.load is neurodeploy_energy\.price\.profiles\.load now"
    ):
        from neurodeploy_energy.cost import load
    assert load("loihi1").ac


@pytest.mark.parametrize(("folder", "above"), [("count", "price|report"), ("price", "report")])
def test_counts_know_no_price_and_prices_no_report(folder, above):
    files = sorted((Path(neurodeploy_energy.__file__).parent / folder).glob("*.py"))
    assert len(files) > 5
    for path in files:
        assert not re.search(rf"neurodeploy_energy\.({above})\b", path.read_text()), path
