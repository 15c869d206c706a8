"""Modules of the user's own as student and teacher, on scikit-learn's wine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import neurodeploy as nd
from checks.differences import differences
from neurodeploy.augmentation import Crop
from neurodeploy.cli.main import main
from neurodeploy.data import Digits, as_data_set
from neurodeploy.distillation import LossTerm
from neurodeploy.io.errors import Failure, UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy.training import checkpoint
from neurodeploy.training.loop import _Run
from neurodeploy.training.stopping import split

values, answers = load_wine(return_X_y=True)
X = torch.tensor((values - values.mean(0)) / values.std(0), dtype=torch.float32)
Y = torch.tensor(answers)
ORDER = torch.randperm(len(Y), generator=torch.Generator().manual_seed(0))
TRAIN, TEST = (X[ORDER[:140]], Y[ORDER[:140]]), (X[ORDER[140:]], Y[ORDER[140:]])


class Ann(nn.Module):
    def __init__(self, classes: int = 3, width: int = 12) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(13, width), nn.ReLU(), nn.Linear(width, width)
        self.again, self.head = nn.ReLU(), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.second(self.relu(self.first(x)))))


class Snn(nn.Module):
    def __init__(self, steps: int = 3, width: int = 12) -> None:
        super().__init__()
        self.steps, self.first, self.second = steps, nn.Linear(13, width), nn.Linear(width, width)
        self.relu, self.again, self.head = nd.LIF(decay=0.5), nd.LIF(decay=0.5), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).expand(self.steps, -1, -1)
        return self.head(self.again(self.second(self.relu(x)))).mean(0)


class Conv(nn.Module):
    """The samples as an image of 4×3, for terms on pixels."""

    def __init__(self, activation=nn.ReLU, steps: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.steps = steps
        self.conv, self.relu, self.head = nn.Conv2d(1, 5, 3, stride, 1), activation(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x[:, :12].reshape(-1, 1, 4, 3)).expand(self.steps, -1, -1, -1, -1)
        return self.head(self.relu(x).mean((3, 4)))


@pytest.fixture(scope="module")
def ann() -> nn.Module:
    torch.manual_seed(0)
    network = Ann()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(TRAIN[0]), TRAIN[1]).backward()
        optimizer.step()
    return network


def student(seed: int = 0, **options) -> nn.Module:
    torch.manual_seed(seed)
    return Snn(**options)


def train(network, teacher, folder, **options):
    options = {"epochs": 2, "progress": False, "learning_rate": 0.01, "device": "cpu"} | options
    return nd.distill(network, teacher, options.pop("data", TRAIN), folder=folder, **options)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_student_learns_in_place_and_the_teacher_stays_as_it_was(ann, tmp_path):
    network, before, taught = student(), weights(student()), weights(ann)
    ann.train()
    result = train(
        network, ann, tmp_path, losses=[nd.losses.Response(weight=0.5), nd.losses.Activity(weight=0.1)], epochs=8, test=TEST
    )
    assert ann.training
    assert all(weight.requires_grad for weight in ann.parameters())
    assert same(weights(ann), taught)
    assert result.student is network
    assert not same(weights(network), before)
    assert network(TEST[0]).shape == (38, 3)
    assert result.accuracy == nd.evaluate(network, *TEST).accuracy
    assert result.accuracy.percent > 60
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert result.metrics == tuple(lines)
    assert set(lines[-1]["terms"]) == {"cross-entropy", "response", "activity"}
    assert lines[-1]["loss"] < lines[0]["loss"]
    text = str(result)
    assert f"({result.accuracy.correct} of 38; 95 % interval" in text
    assert "on the test set" in text
    assert "cross-entropy + 0.5 response + 0.1 activity (cross-entropy was added: no other term reads the labels)" in text
    model = nd.deploy(network, TEST[0])
    assert model.graph is not None


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (None, ["cross-entropy", "response"]),
        ([nd.losses.CrossEntropy(weight=0), nd.losses.Response()], ["cross-entropy", "response"]),
        ([nd.losses.FullRange()], ["full-range"]),
        ([nd.losses.Tet(), nd.losses.Response(weight=0.1)], ["tet", "response"]),
        ([{"kind": "response", "weight": 0.5}], ["cross-entropy", "response"]),
    ],
)
def test_cross_entropy_is_added_unless_a_term_reads_the_labels(ann, tmp_path, losses, expected):
    result = train(student(), ann, tmp_path, losses=losses, epochs=1)
    assert list(result.metrics[0]["terms"]) == expected


IMAGES = {"attention", "spike-attention", "class-activation"}
TERMS = {
    kind.model_fields["kind"].default: kind
    for kind in vars(nd.losses).values()
    if isinstance(kind, type) and issubclass(kind, LossTerm) and "kind" in kind.model_fields
}


@pytest.mark.parametrize("name", TERMS)
def test_every_loss_term_trains_a_pair_of_modules(ann, tmp_path, name):
    one = IMAGES & {name}
    teacher, network = (Conv(), Conv(lambda: nd.LIF(decay=0.5, threshold=0.1), steps=3)) if one else (ann, student())
    term = TERMS[name]()
    before = weights(network)
    losses = [nd.losses.CrossEntropy(weight=0), term] if name != "cross-entropy" else [term]
    result = train(network, teacher if term.needs_teacher else None, tmp_path, losses=losses, epochs=1)
    assert np.isfinite(result.metrics[0]["terms"][name])
    assert not same(weights(network), before), "the term has no gradient"


def spiking_teachers() -> dict[str, nn.Module]:
    """A module of one's own with neurons in it, and a spiking twin; both of three steps."""
    torch.manual_seed(5)
    return {"module": Snn(), "twin": nd.spiking(Ann(), TRAIN[0], steps=3, reset="soft")}


@pytest.mark.parametrize("kind", ["module", "twin"])
@pytest.mark.parametrize("taught", ["module", "twin"])
def test_a_spiking_teacher_teaches_by_its_spikes_step_by_step(ann, tmp_path, kind, taught):
    twin = nd.spiking(ann, TRAIN[0], steps=3, reset="soft")
    teacher, network = spiking_teachers()[kind], student() if taught == "module" else twin
    before = weights(teacher)
    losses = [nd.losses.CrossEntropy(weight=0), nd.losses.SpikeTensor(window=2)]
    asked = []
    teacher.get_submodule("relu").register_forward_hook(lambda *call: asked.append(call[2].detach()))
    result = train(network, teacher, tmp_path, losses=losses, epochs=4)
    assert all(spikes.shape[0] == 3 and set(spikes.unique().tolist()) <= {0.0, 1.0} for spikes in asked)
    values = [epoch["terms"]["spike-tensor"] for epoch in result.metrics]
    assert values[-1] < values[0]
    assert same(weights(teacher), before)
    assert all(weight.requires_grad for weight in teacher.parameters() if weight.ndim > 1)


def test_a_spiking_teacher_of_other_steps_is_refused_before_the_first_epoch(tmp_path):
    with pytest.raises(UserError, match=r"spike-tensor: tap relu has 3 time steps in the student and 4 in the teacher"):
        train(student(), Snn(steps=4), tmp_path, losses=[nd.losses.SpikeTensor()])
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_taps_of_other_names_are_paired(ann, tmp_path):
    class Renamed(Snn):
        def __init__(self) -> None:
            super().__init__()
            self.spikes, self.more = self.relu, self.again
            del self.relu, self.again

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x).expand(self.steps, -1, -1)
            return self.head(self.more(self.second(self.spikes(x)))).mean(0)

    with pytest.raises(UserError, match=r"loss term feature: no tap of the student \(spikes, more\) is called as one of the "):
        train(Renamed(), ann, tmp_path / "refused", losses=[nd.losses.Feature()])
    paired = train(
        Renamed(), ann, tmp_path / "run", losses=[nd.losses.Feature()], taps={"spikes": "relu", "more": "again"}, epochs=1
    )
    torch.manual_seed(0)
    assert paired.metrics[0]["terms"]["feature"] > 0


class Stopped(Exception):
    pass


OPTIONS = [
    {},
    {"average": 0.9, "optimizer": "sgd", "accumulate": 2},
    {"patience": 1, "validation": 20, "known_teacher": True},
    {"precision": "bfloat16"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_run_that_was_killed_in_an_epoch_goes_on_to_the_same_weights_bit_for_bit(ann, tmp_path, monkeypatch, options):
    whole = student()
    first = train(whole, ann, tmp_path / "whole", epochs=3, **options)
    original, steps = _Run._teacher_for, []

    def interrupt(run, *batch):
        steps.append(run.epoch)
        if steps.count(1) == 2:
            raise Stopped
        return original(run, *batch)

    monkeypatch.setattr(_Run, "_teacher_for", interrupt)
    cut = student()
    with pytest.raises(Stopped):
        train(cut, ann, tmp_path / "cut", epochs=3, **options)
    monkeypatch.setattr(_Run, "_teacher_for", original)
    assert not any(module._forward_hooks for module in (*cut.modules(), *ann.modules()))
    again = student(seed=5)  # another start: the checkpoint counts
    second = train(again, ann, tmp_path / "cut", epochs=3, resume=True, **options)
    assert same(weights(whole), weights(again))
    assert second.accuracy == first.accuracy
    done = student(seed=6)
    assert train(done, ann, tmp_path / "cut", epochs=3, resume=True, **options).accuracy == first.accuracy
    assert same(weights(done), weights(whole))


def test_a_folder_in_use_is_refused_unless_it_is_this_run(ann, tmp_path):
    train(student(), ann, tmp_path, epochs=1)
    fresh = student(seed=3)
    before = weights(fresh)
    other = Ann()
    for options, message in (
        ({"epochs": 1}, r"checkpoint\.safetensors: exists; add --resume"),
        ({"epochs": 1, "resume": True, "seed": 1}, "its seed differs"),
        ({"epochs": 2, "resume": True}, "its training differs"),
        ({"epochs": 1, "resume": True, "losses": [nd.losses.Response(weight=0.5)]}, "its loss differs"),
        ({"epochs": 1, "resume": True, "data": (TRAIN[0] + 1, TRAIN[1])}, "its data_sha256 differs"),
        ({"epochs": 1, "resume": True, "teacher": other}, "its teacher_sha256 differs"),
    ):
        with pytest.raises(UserError, match=message):
            train(fresh, options.pop("teacher", ann), tmp_path, **options)
        assert same(weights(fresh), before)


def labelled(change) -> tuple[Tensor, Tensor]:
    x, y = TRAIN[0].clone(), TRAIN[1].clone()
    change(x, y)
    return x, y


def spoil(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(module.parameters())[0] = float("nan")
    return module


def frozen_student() -> nn.Module:
    return student().requires_grad_(False)


def at(tensor: Tensor, number: int, value: float) -> None:
    tensor[number] = value


REFUSED = [
    ({"teacher": lambda: Ann(classes=4)}, "teacher: answers for 4 classes, the data have 3; equal numbers expected"),
    ({"student": lambda: Ann(classes=2)}, r"data: label of training sample \d is 2, 0 to 1 expected"),
    ({"data": Digits()}, r"student: does not take samples of shape \(1, 8, 8\)"),
    ({"data": lambda: as_data_set((TRAIN[0], TRAIN[1]), classes=5)}, "student: answers for 3 classes, the data have 5"),
    ({"data": lambda: labelled(lambda x, _: at(x, 7, float("nan")))}, "sample 7 holds values that are no finite"),
    ({"data": lambda: labelled(lambda x, _: at(x, 9, float("inf")))}, "sample 9 holds values that are no finite"),
    ({"data": lambda: labelled(lambda _, y: at(y, 5, -1))}, "label of sample 5 is -1"),
    ({"data": lambda: labelled(lambda _, y: at(y, 5, 3))}, "data: label of training sample 5 is 3, 0 to 2 expected"),
    ({"data": lambda: (X[:0], Y[:0])}, "at least one sample expected"),
    ({"data": lambda: (X, Y[:5])}, "5 labels found for 178 samples"),
    ({"data": lambda: (X[:, :7], Y)}, r"student: does not take samples of shape \(7,\)"),
    ({"data": lambda: X}, "samples without labels"),
    ({"data": 3}, "int found"),
    ({"test": lambda: (X[:, :7], Y)}, r"test: samples of shape \(7,\) found, \(13,\) expected"),
    ({"student": lambda: spoil(student())}, "student: tensor first.weight holds values that are not finite"),
    ({"teacher": lambda: spoil(Ann())}, "teacher: tensor first.weight holds values that are not finite"),
    ({"student": frozen_student}, "student: no parameter requires a gradient"),
    ({"teacher": lambda: None}, "loss term response: needs a teacher, none was given"),
    ({"losses": [nd.losses.Activity()]}, "teacher: no loss term asks it"),
    ({"losses": [nd.losses.Response]}, "losses: the class Response found, terms of neurodeploy.losses expected"),
    (
        {"augmentation": ["crop"]},
        r"augmentation: str found, those of neurodeploy\.augmentation expected, such as Crop\(padding=1\)",
    ),
    ({"augmentation": [{"kind": "corp"}]}, "augmentation: kind: 'corp' found"),
    ({"losses": [{"kind": "respons"}]}, "losses: kind: 'respons' found"),
    ({"losses": [nd.losses.SelfDistillation(), nd.losses.Response()], "student": lambda: student(steps=1)}, "one time step"),
    ({"losses": [nd.losses.Laf()], "teacher": lambda: Ann(width=9)}, "loss term laf: features of 12 values found"),
    ({"losses": [nd.losses.Feature()], "teacher": lambda: Ann(width=9)}, r"feature: tap relu has the shape \(12,\) in the"),
    ({"losses": [nd.losses.Attention()]}, "attention: teacher and student share no taps of more than one pixel"),
    ({"losses": [nd.losses.Feature(taps=("lif",))]}, "'lif' is none of the taps that teacher and student share: relu, again"),
    (
        {"losses": [nd.losses.Laf()], "teacher": lambda: nn.Sequential(nn.Linear(13, 3), nn.ReLU())},
        "loss term laf: the last nn.Linear of the teacher, 0, does not give its answer",
    ),
    (
        {"losses": [nd.losses.Feature()], "teacher": lambda: nn.Sequential(nn.Linear(13, 9), nn.Tanh(), nn.Linear(9, 3))},
        "loss term feature: the teacher calls no spiking layer and no nn.ReLU; name layers with taps=",
    ),
    ({"classifier": "haed"}, "student: no layer 'haed'; did you mean head"),
    ({"taps": "relu"}, "taps: 'relu' found, a list of layers"),
    ({"epochs": 0}, "epochs: 0 found, at least 1 expected"),
    ({"learning_rate": -1}, r"neurodeploy\.distill: learning_rate: -1 found"),
    ({"validation": 20}, "patience and validation_samples belong together"),
    ({"validation": 200, "patience": 1}, "200 found, fewer than the 140 training samples"),
    ({"known_teacher": True, "losses": [nd.losses.Feature()]}, "known_teacher: its answers"),
    ({"precision": "float16"}, "needs a GPU"),
    ({"source": "nowhere:make"}, "source 'nowhere:make': no module"),
    (
        {"source": "collections:OrderedDict"},
        "a function or class of an installed package, which a recipe or checkpoint cannot call",
    ),
    ({"teacher": "runs/absent.safetensors"}, "absent.safetensors: no such file"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_does_not_suit_is_refused_before_the_first_epoch_in_one_line(ann, tmp_path, change, message):
    options = {"losses": [nd.losses.Response()], "student": student, "teacher": ann} | change
    made = {name: value() if callable(value) and not isinstance(value, nn.Module) else value for name, value in options.items()}
    network, teacher = made.pop("student"), made.pop("teacher")
    before, mode = weights(network), network.training
    with pytest.raises(UserError, match=message) as refused:
        train(network, teacher, tmp_path / "run", **made)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
    assert network.training == mode
    assert all(
        torch.equal(a, b) or not torch.isfinite(a).all()
        for a, b in zip(before.values(), weights(network).values(), strict=True)
    )


def test_a_student_that_shares_weights_with_its_teacher_is_refused(ann, tmp_path):
    network = Snn()
    network.head = ann.head
    with pytest.raises(UserError, match=r"student: its parameter head\.weight is the teacher's too"):
        train(network, ann, tmp_path)


def test_a_loss_that_is_not_finite_names_its_step(ann, tmp_path):
    with pytest.raises(Failure, match=r"epoch 1, step \d+: the loss is (nan|inf)"):
        train(student(), ann, tmp_path, learning_rate=1e38, optimizer="sgd", losses=[nd.losses.Logits(), nd.losses.Response()])


def test_data_come_as_arrays_torch_data_sets_or_settings(ann, tmp_path):
    results = [
        train(student(), ann, tmp_path / str(number), data=data, epochs=1)
        for number, data in enumerate((TRAIN, tuple(part.numpy() for part in TRAIN), TensorDataset(*TRAIN), as_data_set(TRAIN)))
    ]
    assert len({result.accuracy for result in results}) == 1
    assert all(same(weights(results[0].student), weights(result.student)) for result in results)
    assert "on the training set itself: no test set was given" in str(results[0])


def test_held_out_samples_are_what_is_measured_without_a_test_set(ann, tmp_path):
    result = train(student(), ann, tmp_path, validation=30, patience=5)
    assert (result.accuracy.samples, result.measured_on) == (30, "the samples that were held out")
    numbers = split(as_data_set(TRAIN), 30, 0).validation
    assert nd.evaluate(result.student, TRAIN[0][numbers], TRAIN[1][numbers]).accuracy == result.accuracy


def test_a_student_that_answers_with_a_network_output_is_trained_by_its_own_taps(ann, tmp_path):
    class Own(Snn):
        def forward(self, x: Tensor) -> NetworkOutput:
            spikes = self.relu(self.first(x).expand(self.steps, -1, -1))
            steps = self.head(spikes)
            return NetworkOutput(steps.mean(0), steps, spikes, {"relu": spikes})

    result = train(Own(), ann, tmp_path, losses=[nd.losses.Feature(taps=("relu",)), nd.losses.Response()], epochs=1)
    assert result.metrics[0]["terms"]["feature"] > 0
    with pytest.raises(UserError, match=r"student: names its features and taps itself \(relu\)"):
        train(Own(), ann, tmp_path / "named", taps=["relu"])


MODULES = """
from torch import nn

import neurodeploy as nd


class Student(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.first, self.lif, self.head = nn.Linear({inputs}, width), nd.LIF(decay=0.5), nn.Linear(width, {classes})

    def forward(self, x):
        return self.head(self.lif(self.first(x.flatten(1)).expand(3, -1, -1))).mean(0)


def wide():
    return Student(20)
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A module of the user's in the current folder, under a name of its own."""

    def write(name: str, inputs: int = 13, classes: int = 3):
        (tmp_path / f"{name}.py").write_text(MODULES.format(inputs=inputs, classes=classes))
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        return __import__(name)

    yield write
    for name in [name for name in sys.modules if name.startswith("distil_")]:
        del sys.modules[name]


def test_a_checkpoint_makes_its_module_again(ann, tmp_path, modules):
    made = modules("distil_found")
    for name, network, source in (("a", made.Student(), None), ("b", made.wide(), "distil_found:wide")):
        train(network, ann, tmp_path / name, source=source, epochs=1)
        loaded = nd.load(tmp_path / name / "checkpoint.safetensors")
        assert torch.equal(loaded.module(X), network(X))
        assert loaded.test_samples is None
        assert "data given in memory" in str(loaded)
        assert nd.energy(loaded, X[:5]).total.spikes > 0
        with pytest.raises(UserError, match="brings no data of its own; give samples"):
            nd.energy(loaded)
    with pytest.raises(UserError, match="source 'distil_found:wide': makes a module whose weights have other names or shapes"):
        train(made.Student(), ann, tmp_path / "c", source="distil_found:wide", epochs=1)


def test_a_strangers_checkpoint_calls_nothing_of_an_installed_package(ann, tmp_path, modules):
    network = modules("distil_stranger").Student()
    train(network, ann, tmp_path, epochs=1)
    path, other = tmp_path / "checkpoint.safetensors", tmp_path / "other.safetensors"
    header, _ = checkpoint.read(path)
    checkpoint.save(other, network, header.model_copy(update={"source": "platform:os.getcwd"}), {})
    with pytest.raises(UserError, match=r"other.safetensors: module 'platform:os.getcwd': .* write a function of your own"):
        nd.load(other)
    assert isinstance(nd.load(other, module=network).module, nn.Module)


def test_a_checkpoint_of_a_module_that_cannot_be_imported_says_what_to_give(ann, tmp_path):
    class Local(Snn):
        pass

    network = Local()
    train(network, ann, tmp_path, epochs=1)
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: made of a Local whose code is not known; .*module=…"):
        nd.load(path)
    again = Local()
    assert torch.equal(nd.load(path, module=again).module(X), network(X))
    other = Ann(width=9)
    before = weights(other)
    with pytest.raises(UserError, match="do not fit the network"):
        nd.load(path, module=other)
    assert same(weights(other), before)
    header = checkpoint.read(path)[0]
    assert header.teacher == "Ann"
    assert len(header.teacher_sha256) == 64


def test_a_checkpoint_knows_its_data_set(tmp_path, modules, monkeypatch, capsys):
    made = modules("distil_digits", inputs=64, classes=10)
    result = train(made.Student(), None, tmp_path / "run", data=Digits(), epochs=1)
    path = tmp_path / "run" / "checkpoint.safetensors"
    loaded = nd.load(path)
    assert nd.evaluate(loaded.module, loaded.test_samples, loaded.test_labels).accuracy == result.accuracy
    assert loaded.graph is not None

    def called(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["neurodeploy", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out + captured.err

    code, text = called("evaluate", path)
    assert (code, f"({result.accuracy.correct} of {result.accuracy.samples};" in text) == (0, True)
    assert called("energy", path)[0] == 0
    assert called("export", path, "--target", "onnx", "--samples", 2, "--output", tmp_path / "bundles")[0] == 0
    assert nd.verify(tmp_path / "bundles" / "onnx").passed

    alone = modules("distil_alone")
    train(alone.Student(), None, tmp_path / "memory", epochs=1)
    code, text = called("evaluate", tmp_path / "memory" / "checkpoint.safetensors")
    assert code == 2
    assert "no data of its own; give data with --data" in text


class Pooled(nn.Module):
    """A ReLU that only max pools read, and batch norm: the twin's layers are in another order than the network's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.pool, self.head = nn.Sequential(nn.MaxPool2d(2, 1), nn.MaxPool2d(2, 1)), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :12].reshape(-1, 1, 4, 3)
        return self.head(self.pool(self.relu(self.norm(self.conv(x)))).flatten(1))


@pytest.mark.parametrize("name", [name for name in TERMS if name not in ("attention", "spike-attention", "class-activation")])
def test_every_term_compares_a_spiking_twin_with_its_network(tmp_path, name):
    torch.manual_seed(0)
    network, term = Pooled(), TERMS[name]()
    twin = nd.spiking(network, TRAIN[0], steps=4)
    result = train(twin, network if term.needs_teacher else None, tmp_path, losses=[term], epochs=1)
    assert np.isfinite(result.metrics[0]["terms"][name])
    assert network.training
    assert not any(layer._forward_hooks for layer in network.modules())
    loaded = nd.load(tmp_path / "checkpoint.safetensors").module
    assert torch.equal(loaded(TEST[0]).logits, twin(TEST[0]).logits)


@pytest.mark.parametrize(("reset", "after"), [("hard", 0), ("soft", 0), ("soft", 2)])
def test_a_spiking_twin_is_distilled_deployed_resumed_and_loaded_without_its_code(ann, tmp_path, reset, after):
    options = {"losses": [nd.losses.Response(weight=0.5), nd.losses.Feature(), nd.losses.Activity(weight=0.1)], "epochs": 2}
    twin = nd.spiking(ann, TRAIN[0], steps=4, repact=True, reset=reset, learn_threshold=True, evaluate_after=after)
    result = train(twin, ann, tmp_path / "run", test=TEST, **options)
    assert result.accuracy.percent > 80
    model = nd.deploy(twin, TEST[0])
    bundle = nd.export(model, "onnx", tmp_path / "bundle", samples=4)
    assert nd.verify(bundle).passed
    loaded = nd.load(tmp_path / "run" / "checkpoint.safetensors")
    assert torch.equal(loaded.module(TEST[0]).step_logits, twin(TEST[0]).step_logits)
    assert torch.equal(loaded.module(TEST[0]).logits, twin(TEST[0]).logits)
    assert loaded.module.evaluate_after == model.graph.skipped == after
    assert (loaded.module.steps, loaded.module.spiking, loaded.module.reset) == (twin.steps, twin.spiking, reset)
    again = nd.spiking(ann, TRAIN[0][:50], steps=4, repact=True, reset=reset, learn_threshold=True, evaluate_after=after)
    assert train(again, ann, tmp_path / "run", test=TEST, resume=True, **options).accuracy == result.accuracy
    assert same(weights(again), weights(twin))
    with pytest.raises(UserError, match="source: the checkpoint of a SpikingTwin holds its graph"):
        train(twin, ann, tmp_path / "other", source="test_distil:Ann", **options)


ROOT = Path(__file__).parents[3]
OWN = ROOT / "tests" / "own"
SCRIPT = """
import os
import sys

import torch

sys.path[:0] = ["{root}", "{here}", "{own}"]
import lightning_fabric
from ranks import ended_well, start
from test_distil import shared

def train():
    torch.save(shared("{folder}").state_dict(), "{folder}-" + os.environ["RANK"] + ".pt")


sys.exit(not ended_well(start(2, train)))
"""


def shared(folder: str | Path) -> nn.Module:
    """A training without spikes, which rounding could move, and without terms that depend on the batch as a whole."""
    torch.manual_seed(0)
    teacher, network = Ann(), Ann()
    train(network, teacher, folder, losses=[nd.losses.Response(), nd.losses.Activity(weight=0.1), nd.losses.Laf()])
    return network


def test_an_augmentation_may_be_said_as_a_recipe_says_it(tmp_path):
    images = (torch.rand(40, 1, 8, 8), torch.arange(40) % 4)
    for name, given in (("made", Crop(padding=1)), ("said", {"kind": "crop", "padding": 1})):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        nd.distill(net, None, images, epochs=1, folder=tmp_path / name, augmentation=[given], progress=False)
    assert differences(tmp_path / "made", tmp_path / "said") == []


def test_two_processes_end_with_the_weights_of_one_within_rounding(tmp_path):
    script = tmp_path / "shared.py"
    script.write_text(SCRIPT.format(root=ROOT, here=Path(__file__).parent, own=OWN, folder=tmp_path / "two"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"two-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert same(first, second)
    one = weights(shared(tmp_path / "one"))
    for name, value in one.items():
        torch.testing.assert_close(first[name], value, rtol=1e-3, atol=1e-5)
