"""What a recipe says of a user's own parts is checked before anything runs: one line, exit code 2."""

import sys
from pathlib import Path

import pytest

from neurodeploy.io import kinds
from neurodeploy.recipe import parse

MODULE = """
import torch
from torch import nn
from subprocess import getoutput

from neurodeploy.augmentation import Augmentation
from neurodeploy.data import DataSetSettings
from neurodeploy.distillation import LossTerm
from neurodeploy.dynamics.encoders import EncoderSettings
from neurodeploy.dynamics.settings import NeuronSettings
from neurodeploy.networks import NetworkSettings

number = 3

def data(path: str, limit: int = 5): ...
def network(in_channels, classes, activations, width: int): ...
def loss(student, rate: float): ...
class Encoder(nn.Module):
    def __init__(self, steps: int, gain: float): ...

class AnyData(DataSetSettings):
    path: str
    def load(self): ...

class HalfData(DataSetSettings):
    pass

class AnyNetwork(NetworkSettings):
    width: int

class AnyLoss(LossTerm):
    rate: float
    def __call__(self, student, teacher, labels): ...

class AnyEncoder(EncoderSettings):
    gain: float
    def build(self, steps): ...

class AnyNeuron(NeuronSettings):
    leak: float

class AnyAugmentation(Augmentation):
    share: float
    def __call__(self, x, generator=None): ...

def stepless(gain: float = 1.0): ...
def renamed(output, rate: float = 0.1): ...
def taken(load: int = 3): ...
def kinded(kind: str = "a"): ...
def positional(path: str, /): ...
def unreadable(path: "NoSuchType"): ...
def odd(generator: torch.Generator): ...
def defaulted(dtype=torch.float32): ...
"""
RECIPE = """
name = "own"
steps = 2
baseline = "student"
deployed = "student"
data = {data}
network = {network}
neuron = {neuron}
augmentation = [{augmentation}]
teacher = {{ epochs = 1 }}

[[student]]
name = "student"
training = {{ epochs = 1 }}
loss = [{loss}]
code = {encoder}
"""
PARTS = {
    "data": '{ kind = "digits" }',
    "network": '{ kind = "conv", channels = [4], strides = [2] }',
    "neuron": '{ kind = "lif" }',
    "augmentation": '{ kind = "crop" }',
    "loss": '{ kind = "cross-entropy" }',
    "encoder": '"direct"',
}
WHAT = {"data": "data set", "loss": "loss term"}
REFERENCES = [
    ("no_such_module_of_mine:Part", "no module 'no_such_module_of_mine' in /"),
    ("kinds_with_a_fault:Part", "cannot be imported: ZeroDivisionError: division by zero ("),
    ("own_kinds:absent", "module own_kinds has no name 'absent'"),
    ("own_kinds:number", "int found, a class derived from neurodeploy."),
    ("pathlib:Path.cwd", "a function of an installed package"),
    ("own_kinds:getoutput", "a function of an installed package"),
]
SETTINGS = [
    ("data", 'kind = "own_kinds:data", path = "a", colour = 1', "data.own_kinds:data.colour: unknown setting"),
    ("data", 'kind = "own_kinds:data"', "data.own_kinds:data.path: missing, give it a value"),
    (
        "data",
        'kind = "own_kinds:data", path = "a", limit = "x"',
        "data.own_kinds:data.limit: 'x' found, input should",
    ),
    ("data", 'kind = "own_kinds:AnyData"', "data.own_kinds:AnyData.path: missing"),
    ("data", 'kind = "own_kinds:HalfData"', "'own_kinds:HalfData': HalfData is abstract: it has no load"),
    ("data", 'kind = "neurodeploy.data:DataSetSettings"', "DataSetSettings is abstract: it has no load"),
    (
        "data",
        'kind = "own_kinds:AnyLoss"',
        "class AnyLoss(LossTerm) found, a class derived from neurodeploy.data",
    ),
    ("data", 'kind = "own_kinds:taken"', "its parameter load cannot be a setting; give it another name"),
    ("data", 'kind = "own_kinds:kinded"', "its parameter kind cannot be a setting"),
    (
        "data",
        'kind = "own_kinds:positional"',
        "its parameter path cannot be a setting; give it another name, and no /",
    ),
    ("data", 'kind = "own_kinds:unreadable"', "its annotations cannot be read: NameError: name 'NoSuchType' is not defined"),
    ("data", 'kind = "own_kinds:odd"', "its parameters cannot be settings: Unable to generate pydantic-core schema"),
    ("data", 'kind = "own_kinds:defaulted", dtype = 3', "data.own_kinds:defaulted.dtype: unknown setting"),
    ("data", 'kind = "own_kinds:"', "data.kind: 'own_kinds:' found, one of 'cifar10'"),
    ("data", "kind = 3", "data.kind: 3 found, one of 'cifar10'"),
    ("data", 'path = "a"', "data.kind: missing, give it a value"),
    ("network", 'kind = "own_kinds:network"', "network.own_kinds:network.width: missing"),
    ("network", 'kind = "own_kinds:network", width = 4, classes = 3', "network.own_kinds:network.classes: unknown setting"),
    ("network", 'kind = "own_kinds:AnyNetwork", width = "x"', "network.own_kinds:AnyNetwork.width: 'x' found"),
    ("network", 'kind = "own_kinds:AnyData"', "class AnyData(DataSetSettings) found"),
    ("neuron", 'kind = "own_kinds:AnyNeuron"', "neuron.leak: missing"),
    ("neuron", 'kind = "own_kinds:AnyNeuron", leak = 1, colour = 2', "neuron.colour: unknown setting"),
    (
        "neuron",
        'kind = "own_kinds:AnyLoss"',
        "class AnyLoss(LossTerm) found, a class derived from neurodeploy.dyn",
    ),
    ("neuron", 'kind = "own_kinds:loss"', "own_kinds.loss found, a class derived from neurodeploy.dynamics.settings"),
    ("augmentation", 'kind = "own_kinds:AnyAugmentation"', "augmentation.0.own_kinds:AnyAugmentation.share: missing"),
    (
        "augmentation",
        'kind = "own_kinds:loss"',
        "found, a class derived from neurodeploy.augmentation.",
    ),
    ("loss", 'kind = "own_kinds:loss"', "student.0.loss.0.own_kinds:loss.rate: missing"),
    ("loss", 'kind = "own_kinds:loss", rate = 1, weight = -1', "student.0.loss.0.own_kinds:loss.weight: -1 found"),
    ("loss", 'kind = "own_kinds:renamed"', "no parameter student found; a function (student, teacher, labels, …) expected"),
    ("loss", 'kind = "own_kinds:AnyLoss", rate = "x"', "student.0.loss.0.own_kinds:AnyLoss.rate: 'x' found"),
    (
        "loss",
        'kind = "own_kinds:AnyData"',
        "class AnyData(DataSetSettings) found, a class derived from neuro",
    ),
    ("encoder", 'kind = "own_kinds:Encoder"', "student.0.code.own_kinds:Encoder.gain: missing"),
    ("encoder", 'kind = "own_kinds:Encoder", gain = 1, steps = 3', "student.0.code.own_kinds:Encoder.steps: unknown setting"),
    ("encoder", 'kind = "own_kinds:AnyEncoder"', "student.0.code.own_kinds:AnyEncoder.gain: missing"),
    ("encoder", 'kind = "own_kinds:stepless"', "no parameter steps found"),
    ("encoder", 'kind = "morse"', "student.0.code.kind: 'morse' found, one of 'direct', 'latency', 'poisson' expected"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_kinds.py").write_text(MODULE)
    Path("kinds_with_a_fault.py").write_text("1 / 0\n")
    yield tmp_path
    sys.modules.pop("own_kinds", None)


def refusal(cli, part: str, table: str) -> str:
    Path("own.toml").write_text(RECIPE.format(**PARTS | {part: f"{{ {table} }}"}))
    outcome = cli("train", "own.toml", "--output", "run")
    assert outcome.code == 2
    assert not Path("run").exists()
    assert outcome.err.startswith("error: own.toml: ")
    assert outcome.err.count("\n") == 1
    return outcome.err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("reference", "message"), REFERENCES, ids=[reference for reference, _ in REFERENCES])
def test_a_reference_that_leads_to_no_part_is_refused(cli, part, reference, message):
    refused = refusal(cli, part, f'kind = "{reference}"')
    assert f"{WHAT.get(part, part)} '{reference}': " in refused
    classes_only = part in ("neuron", "augmentation") and "function" in message
    assert ("found, a class derived from neurodeploy." if classes_only else message) in refused


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("part", "table", "message"), SETTINGS)
def test_a_setting_of_an_own_part_is_checked_like_one_of_ours(cli, part, table, message):
    assert message in refusal(cli, part, table)


@pytest.fixture
def installed(folder):
    """A package that offers parts by entry points."""
    about = folder / "own_kinds-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-kinds\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[neurodeploy.data]\nfiles = own_kinds:data\nany = own_kinds:AnyData\nbroken = own_kinds:gone\n"
        "[neurodeploy.networks]\nwide = own_kinds:network\n[neurodeploy.losses]\nquiet = own_kinds:loss\n"
        "[neurodeploy.encoders]\nscaled = own_kinds:Encoder\n[neurodeploy.neurons]\nleaky = own_kinds:AnyNeuron\n"
        "[neurodeploy.augmentations]\nsome = own_kinds:AnyAugmentation\n"
    )
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.mark.usefixtures("installed")
def test_entry_points_name_parts_of_every_kind_and_are_stored_so_that_they_are_found_again():
    tables = {
        "data": '{ kind = "files", path = "a" }',
        "network": '{ kind = "wide", width = 3 }',
        "neuron": '{ kind = "leaky", leak = 0.5 }',
        "augmentation": '{ kind = "some", share = 0.5 }',
        "loss": '{ kind = "quiet", rate = 0.5, weight = 2 }',
        "encoder": '{ kind = "scaled", gain = 3 }',
    }
    recipe = parse(RECIPE.format(**tables), origin="x")
    assert recipe.data.model_dump() == {"kind": "files", "path": "a", "limit": 5}
    stored = recipe.model_dump(mode="json")
    assert [stored[part]["kind"] for part in ("data", "network", "neuron")] == ["files", "wide", "leaky"]
    assert stored["student"][0]["code"] == {"kind": "scaled", "gain": 3.0}
    assert type(recipe).model_validate(stored) == recipe


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_leads_nowhere_is_refused_by_name_and_an_unknown_kind_with_those_there_are(cli):
    assert "data set 'broken' of an installed package: 'own_kinds:gone': module own_kinds has no" in refusal(
        cli, "data", 'kind = "broken"'
    )
    known = "'any', 'broken', 'cifar10', 'cifar10-dvs', 'cifar100', 'digits', 'files', 'folder'"
    assert f"data.kind: 'flies' found, one of {known}" in refusal(cli, "data", 'kind = "flies"')


@pytest.mark.usefixtures("folder")
def test_two_classes_of_one_kind_are_told_apart_by_their_paths_only(cli):
    again = MODULE.replace("    path: str\n    def load", '    kind: Literal["digits"] = "digits"\n    path: str\n    def load')
    Path("own_kinds.py").write_text("from typing import Literal\n" + again)
    assert "path: missing" in refusal(cli, "data", 'kind = "own_kinds:AnyData"')
    both = "the kind of neurodeploy.data.digits:Digits and own_kinds:AnyData; say which by its import path"
    assert f"data set 'digits': {both}" in refusal(cli, "data", 'kind = "digits"')
    recipe = parse(RECIPE.format(**PARTS | {"data": '{ kind = "neurodeploy.data:Digits" }'}), origin="x")
    assert kinds.kind_of(recipe.data) == "digits"
