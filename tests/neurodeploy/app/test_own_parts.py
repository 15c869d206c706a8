"""Data, networks, losses and encoders of a user's own files: in recipes, in what is stored of them, and deployed."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodeploy.app.compare import Gathering
from neurodeploy.app.deployment import check_targets, deploy
from neurodeploy.app.model import load_model
from neurodeploy.app.train import train_recipe
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import Recipe, load, parse
from neurodeploy.recipe.sweep import load_space
from neurodeploy.training import checkpoint
from neurodeploy.training.parallel import fabric_on
from neurodeploy.training.parts import check_parts

MODULE = """
from typing import Literal

import numpy as np
import torch
from torch import nn

from neurodeploy.data import DataSet, DataSetSettings
from neurodeploy.distillation import LossTerm
from neurodeploy.dynamics.layers import Flatten, Neuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.networks import ConvNet, NetworkSettings


def parts(count=24, channels=3, classes=2):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, count, channels, 4, 4), dtype=np.uint8)
    y = np.arange(count) % classes
    return (x[0], y), (x[1], y)


class Pairs(torch.utils.data.Dataset):
    def __init__(self, samples, labels):
        self.samples, self.labels = samples, labels

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return torch.from_numpy(self.samples[i]), int(self.labels[i])


def datasets(count: int = 24):
    return tuple(Pairs(*part) for part in parts(count))


class Squares(DataSetSettings):
    kind: Literal["squares-of-own-parts"] = "squares-of-own-parts"
    channels: int = 3

    def load(self):
        (x, y), (test_x, test_y) = parts(channels=self.channels)
        x, test_x = (torch.from_numpy(one).float() / 256 for one in (x, test_x))
        return DataSet("squares", x, torch.from_numpy(y), test_x, torch.from_numpy(test_y), 2, "squares")


class Nameless(DataSetSettings):
    def load(self):
        return Squares().load()


def dense(in_channels, classes, activations, width: int = 8):
    return nn.Sequential(
        activations.entry(), Flatten(), nn.Linear(in_channels * 16, width), activations.encoding(), activations.make(),
        nn.Linear(width, width), activations.make(last=True), nn.Linear(width, classes),
    )


def without_coding(in_channels, classes, activations):
    return nn.Sequential(
        activations.entry(), Flatten(), nn.Linear(in_channels * 16, 4), activations.make(), nn.Linear(4, classes)
    )


def plain(in_channels, classes):
    return nn.Sequential(nn.Unflatten(0, (1, -1)), Flatten(), nn.Linear(in_channels * 16, 4), nn.ReLU(), nn.Linear(4, classes))


def always_spiking(in_channels, classes, activations):
    neuron = Neuron(NeuronParameters())
    return nn.Sequential(
        activations.entry(), Flatten(), nn.Linear(in_channels * 16, 4), activations.encoding(), neuron, nn.Linear(4, classes)
    )


def headless(in_channels, classes, activations):
    return nn.Sequential(activations.entry(), Flatten())


def too_narrow(in_channels, classes, activations):
    return nn.Sequential(activations.entry(), Flatten(), nn.Linear(7, 4), activations.make(), nn.Linear(4, classes))


class Answering(nn.Module):
    def __init__(self, in_channels, classes, activations):
        super().__init__()
        self.act, self.classifier = activations.make(), nn.Linear(in_channels * 16, classes)

    def forward(self, x):
        return self.classifier(self.act(x.flatten(1).unsqueeze(0)))[0]


def number(in_channels, classes, activations):
    return 3


class Wide(NetworkSettings):
    network = ConvNet
    kind: Literal["wide"] = "wide"
    width: int

    def arguments(self):
        return {"channels": [self.width], "strides": [1]}


class Rate(LossTerm):
    kind: Literal["rate-of-own-parts"] = "rate-of-own-parts"
    rate: float = 0.1

    def __call__(self, student, teacher, labels):
        return (torch.stack([tap.mean() for tap in student.taps.values()]) - self.rate).square().mean()


def rate(student, rate: float = 0.1):
    return Rate(rate=rate)(student, None, None)


def distance(student, teacher, labels, scale: float):
    return (student.logits - scale * teacher.output.logits).square().mean()


def wrong_name(output, rate: float = 0.1):
    return output.logits.mean()


def vector(student):
    return student.logits.mean(0)


def failing(student, teacher):
    return teacher.output.taps["absent"].mean()


class Thermometer(nn.Module):
    def __init__(self, steps, gain: float = 1.0):
        super().__init__()
        self.steps, self.gain = steps, gain

    def forward(self, x):
        levels = torch.arange(self.steps) / self.steps
        return (self.gain * x > levels.reshape(-1, *[1] * x.ndim)).to(x.dtype)


class Drawing(Thermometer):
    def forward(self, x):
        return (torch.rand(self.steps, *x.shape) < x).to(x.dtype)


class Ranking(Thermometer):
    def forward(self, x):
        return super().forward(x / x.max()) if len(x) > 1 else super().forward(0 * x)


class Short(Thermometer):
    def forward(self, x):
        return super().forward(x)[1:]


class Stepless(nn.Module):
    def __init__(self, gain: float = 1.0):
        super().__init__()
"""
RECIPE = """
name = "own"
steps = 3
baseline = "student"
deployed = "student"
data = {{ {data} }}
network = {{ {network} }}
teacher = {{ epochs = 1, learning_rate = 0.01 }}
export = {{ targets = ["onnx"], samples = 4, calibration = 0 }}

[[student]]
name = "student"
training = {{ epochs = 1, learning_rate = 0.01 }}
code = {code}
loss = [{loss}]
"""
PARTS = {
    "data": 'kind = "own_parts:parts"',
    "network": 'kind = "own_parts:dense", width = 6',
    "code": '"direct"',
    "loss": '{ kind = "cross-entropy" }',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder, the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_parts.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("own_parts", None)


def recipe(**parts: str) -> Recipe:
    Path("own.toml").write_text(RECIPE.format(**PARTS | parts))
    return load("own.toml")


def trained(settings: Recipe, output: str = "run") -> Path:
    train_recipe(settings, Path(output), fabric=fabric_on("cpu", "float32"))
    return Path(output) / "seed-0" / "student" / "checkpoint.safetensors"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "data", ["own_parts:parts", "own_parts:datasets", "own_parts:Squares", "own_parts:Nameless"], ids=lambda name: name[10:]
)
def test_functions_and_classes_of_data_give_the_same_samples(data):
    loaded = recipe(data=f'kind = "{data}"').data.load()
    assert loaded.train_samples[:].dtype == torch.float32
    assert (tuple(loaded.train_samples.shape), loaded.classes) == ((24, 3, 4, 4), 2)
    expected = np.random.default_rng(0).integers(0, 256, (2, 24, 3, 4, 4), dtype=np.uint8)
    assert np.array_equal(loaded.train_samples[:].numpy() * 256, expected[0])
    assert np.array_equal(loaded.test_samples[:].numpy() * 256, expected[1])


def test_a_checkpoint_is_evaluated_on_its_own_data_wherever_the_module_is_found(folder, monkeypatch, tmp_path_factory):
    path = trained(recipe(loss='{ kind = "own_parts:distance", scale = 2 }, { kind = "own_parts:Rate", rate = 0.2 }'))
    stored = json.loads(Path("run/recipe.json").read_text())
    assert stored["data"]["kind"] == "own_parts:parts"
    assert [term["kind"] for term in stored["student"][0]["loss"]] == ["own_parts:distance", "own_parts:Rate"]
    model = load_model(path)
    assert model.test_samples is not None
    assert tuple(model.test_samples.shape) == (24, 3, 4, 4)
    assert json.loads(Path("run/results.json").read_text())["recipe"]["network"] == {"kind": "own_parts:dense", "width": 6}

    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    sys.modules.pop("own_parts")
    with pytest.raises(UserError, match=rf"no module 'own_parts' in {folder}/run/seed-0/student, .*{Path.cwd()}, nor among"):
        load_model(folder / path)
    shutil.copy(folder / "own_parts.py", folder / "run")
    assert torch.equal(load_model(folder / path).test_samples, model.test_samples)


@pytest.mark.usefixtures("folder")
def test_a_run_of_own_parts_goes_on_with_resume_and_not_with_other_settings():
    settings = recipe(network='kind = "own_parts:Wide", width = 4', data='kind = "own_parts:Squares"')
    path = trained(settings)
    before = path.read_bytes()
    train_recipe(recipe(network='kind = "own_parts:Wide", width = 4', data='kind = "own_parts:Squares"'), Path("run"),
                 fabric=fabric_on("cpu", "float32"), resume=True)  # fmt: skip
    assert path.read_bytes() == before
    with pytest.raises(UserError, match="holds a run of another recipe"):
        train_recipe(recipe(network='kind = "own_parts:Wide", width = 5'), Path("run"), fabric=fabric_on("cpu", "float32"),
                     resume=True)  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_a_class_that_was_imported_is_found_by_its_own_kind_and_stored_by_its_path():
    with pytest.raises(UserError, match="'squares-of-own-parts' found, one of 'cifar10'"):
        recipe(data='kind = "squares-of-own-parts"')
    sys.path.insert(0, str(Path.cwd()))
    try:
        __import__("own_parts")
    finally:
        sys.path.pop(0)
    settings = recipe(data='kind = "squares-of-own-parts", channels = 2')
    assert settings.data.load().sample_shape == (2, 4, 4)
    assert json.loads(settings.model_dump_json())["data"] == {"kind": "own_parts:Squares", "channels": 2}
    assert parse(Path("own.toml").read_text(), origin="x") == settings == Recipe.model_validate_json(settings.model_dump_json())


@pytest.mark.usefixtures("folder")
def test_an_own_encoder_is_a_hosts_work_once_it_is_deployed():
    settings = recipe(code='{ kind = "own_parts:Thermometer", gain = 2.0 }')
    assert json.loads(settings.model_dump_json())["student"][0]["code"] == {"kind": "own_parts:Thermometer", "gain": 2.0}
    loaded = checkpoint.load(trained(settings))
    data = settings.data.load()
    deployment = deploy(loaded.network, data)
    inputs = deployment.inputs(data.test_samples)
    expected = np.stack([2 * data.test_samples.numpy() > t / 3 for t in range(3)])
    assert np.array_equal(inputs, expected)
    assert "an encoder (steps=3, gain=2.0), as own_parts:Thermometer does in evaluation" in deployment.encoding
    logits = deployment.module()(data.test_samples)
    assert torch.allclose(logits, loaded.network(data.test_samples).logits, atol=1e-5)


@pytest.mark.usefixtures("folder")
def test_the_names_of_codes_mean_what_they_meant_and_are_stored_as_they_were():
    for code in ("direct", "poisson", "latency"):
        settings = recipe(code=f'"{code}"')
        assert json.loads(settings.model_dump_json())["student"][0]["code"] == code
        assert recipe(code=f'{{ kind = "{code}" }}') == settings
    seeded = recipe(code='{ kind = "poisson", seed = 7 }')
    assert json.loads(seeded.model_dump_json())["student"][0]["code"] == {"kind": "poisson", "seed": 7, "signed": False}
    assert seeded.activations("student").entry().seed == 7
    with_encoder = parse(RECIPE.format(**PARTS).replace("code = ", "encoder = "), origin="x")
    assert with_encoder == recipe()
    with pytest.raises(UserError, match="encoder: the same as code, which is given too"):
        parse(RECIPE.format(**PARTS).replace("code = ", 'encoder = "direct"\ncode = '), origin="x")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        (
            "network",
            'kind = "own_parts:without_coding"',
            "student: network .*: step_logits of shape (1, 2, 2) found, (3, 2",
        ),
        ("network", 'kind = "own_parts:plain"', "student: network .*: no spiking layer found in a student"),
        ("network", 'kind = "own_parts:always_spiking"', "teacher: network .*: spiking layers found in a ReLU network"),
        ("network", 'kind = "own_parts:headless"', "Flatten found at the end of the sequence, an nn.Linear expected"),
        ("network", 'kind = "own_parts:too_narrow"', "teacher: network .*: does not run on samples of shape (2, 3, 4, 4)"),
        ("network", 'kind = "own_parts:Answering"', "answers with Tensor, a neurodeploy.networks.NetworkOutput expected"),
        ("network", 'kind = "own_parts:number"', "int found, a torch module expected"),
        ("loss", '{ kind = "own_parts:vector" }', "loss term 'own_parts:vector': a tensor of shape (2,) returned, a scalar"),
        ("loss", '{ kind = "own_parts:failing" }', "loss term 'own_parts:failing': KeyError: 'absent' (.*own_parts.py, line "),
        ("code", '"own_parts:Drawing"', "encoder own_parts:Drawing: in evaluation, two answers for the same samples found"),
        ("code", '"own_parts:Ranking"', "encoder own_parts:Ranking: in evaluation, a sample's answer depends on its batch"),
        ("code", '"own_parts:Short"', "encoder own_parts:Short: (2, 2, 3, 4, 4) found, [T, B, …] with T = 3, B = 2 expected"),
    ],
)
def test_a_part_that_does_not_do_what_training_needs_is_refused_before_it(part, text, message):
    settings = recipe(**{part: text})
    with pytest.raises(UserError, match=re.escape(message).replace(r"\.\*", ".*")) as refused:
        check_parts(settings, settings.data.load())
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("3", "int found; a torch Dataset, a DataLoader, or a pair of arrays expected"),
        ("np.zeros((4, 2))", "samples without labels found; give a pair (x, y)"),
        ("((x, y), (x, y[:3]))", "test: labels: 3 labels found for 4 samples; as many expected"),
        ("((x, y), (x[:, :1], y))", "test: samples of shape (1, 3, 3) found, (2, 3, 3) expected"),
        ("((x, y - 1), (x, y))", "labels: label of sample 0 is -1, 0 or more expected"),
        ("((x, y / 2), (x, y))", "labels: label of sample 1 is 0.5, a whole number expected"),
        ("((x, y), (x, y + 1))", "label of test sample 1 is 2, a class without training samples"),
        ("((x, 0 * y), (x, 0 * y))", "one class found, at least two expected"),
        ("((x, y), (x * np.nan, y))", "test: samples: sample 0 holds values that are no finite float32"),
        ("((x.astype(str), y), (x, y))", "samples: values of type <U"),
        ("((x[:0], y[:0]), (x, y))", "samples of shape (0, 2, 3, 3) found, [N, …] with at least one sample expected"),
        ("1 / 0", "data set 'faulty_own_data:make': ZeroDivisionError: division by zero (.*faulty_own_data.py, line 6)"),
    ],
)
def test_a_function_that_returns_no_data_is_refused_with_what_it_returned(made, message):
    code = f"import numpy as np\n\ndef make():\n    x = np.zeros((4, 2, 3, 3))\n    y = np.arange(4) % 2\n    return {made}\n"
    Path("faulty_own_data.py").write_text(code)
    try:
        with pytest.raises(UserError, match=re.escape(message).replace(r"\.\*", ".*")):
            recipe(data='kind = "faulty_own_data:make"').data.load()
    finally:
        sys.modules.pop("faulty_own_data")


@pytest.mark.usefixtures("folder")
def test_a_network_that_cannot_be_cut_is_refused_before_it_is_trained():
    code = """
from torch import nn
from neurodeploy.dynamics.layers import Flatten, TimeMean
from neurodeploy.networks import NetworkOutput

class Around(nn.Module):
    def __init__(self, in_channels, classes, activations):
        super().__init__()
        self.entry, self.flatten, self.encoding = activations.entry(), Flatten(), activations.encoding()
        self.before, self.between = nn.Linear(16 * in_channels, 4), nn.Linear(4, 4)
        self.act1, self.act2 = activations.make(), activations.make(last=True)
        self.classifier, self.readout = nn.Linear(4, classes), TimeMean()

    def forward(self, x):
        current = self.encoding(self.before(self.flatten(self.entry(x))))
        spikes = self.act1(current)
        features = self.act2(current + self.between(spikes))
        logits = self.classifier(features)
        return NetworkOutput(self.readout(logits), logits, features, {"act1": spikes, "act2": features})
"""
    Path("own_uncut_network.py").write_text(code)
    settings = recipe(network='kind = "own_uncut_network:Around"')
    data = settings.data.load()
    check_parts(settings, data)
    with pytest.raises(UserError, match="its values are not spikes and leave the encoder"):
        check_targets(settings, data)
    sys.modules.pop("own_uncut_network")


@pytest.mark.usefixtures("folder")
def test_two_data_sets_of_one_kind_are_not_taken_for_each_other_when_their_networks_are_compared():
    paths = []
    for name, count in (("first_own_data", 24), ("second_own_data", 40)):
        Path(f"{name}.py").write_text(MODULE.replace("count=24", f"count={count}"))
        paths.append(trained(recipe(data=f'kind = "{name}:Squares"', network='kind = "own_parts:dense"'), name))
    compared = Gathering(("cmos45-fp32",), "cmos45-fp32").contenders([paths[0]])
    compared += Gathering(("cmos45-fp32",), "cmos45-fp32").contenders([paths[1]])
    together = Gathering(("cmos45-fp32",), "cmos45-fp32")
    samples = [together.contenders([path])[0].reports[0].samples for path in paths]
    assert samples == [one.reports[0].samples for one in compared] == [24, 40]
    for name in ("first_own_data", "second_own_data"):
        sys.modules.pop(name)


@pytest.mark.usefixtures("folder")
def test_a_search_calls_an_own_part_by_its_name_after_the_colon():
    recipe(loss='{ kind = "own_parts:distance", scale = 1.0 }')
    with Path("own.toml").open("a") as file:
        file.write('[[sweep.parameter]]\npath = "student.student.loss.distance.scale"\nlow = 0.5\nhigh = 2.0\n')
    found = load_space("own.toml").recipe({"student.student.loss.distance.scale": 1.5})
    assert found.student[0].loss[0].model_dump()["scale"] == 1.5
