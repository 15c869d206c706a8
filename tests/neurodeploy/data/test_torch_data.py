"""Data that the user's own code makes: whatever form they have, they are understood or refused by name."""

import random
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from neurodeploy.data import Digits, TorchDataSet, as_data_set
from neurodeploy.data.feeding import feed
from neurodeploy.data.splitting import stratified
from neurodeploy.io.errors import UserError

X = torch.arange(24 * 2 * 3, dtype=torch.float32).reshape(24, 2, 3) / 7
Y = torch.arange(24) % 3


class Own(Dataset):
    """Numbered items, of which some are at fault."""

    def __init__(self, items=None, count=24, **attributes):
        self.items = items or (lambda i: (X[i], int(Y[i])))
        self.count = count
        self.read = []
        vars(self).update(attributes)

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        self.read.append(number)
        return self.items(number)


class Stream(IterableDataset):
    def __iter__(self):
        return zip(X, Y, strict=True)


@pytest.mark.parametrize(
    "given",
    [
        (X, Y),
        [X.numpy(), Y.tolist()],
        TensorDataset(X, Y),
        Own(),
        DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True),
        ConcatDataset([Own(count=10), Subset(Own(), range(10, 24))]),
        Own(lambda i: {"pixels": X[i].numpy(), "label": Y[i]}),
    ],
    ids=["tensors", "arrays", "TensorDataset", "Dataset", "DataLoader", "ConcatDataset", "items that are tables"],
)
def test_every_form_gives_the_same_samples_and_labels(given):
    keys = {"sample": "pixels", "label": "label"} if isinstance(given, Own) and isinstance(given[0], dict) else {}
    data = as_data_set(given, **keys)
    assert torch.equal(data.train_samples[:], X)
    assert torch.equal(data.train_labels, Y)
    assert data.classes == 3
    assert len(data.test_labels) == len(data.test_samples) == 0


def test_a_stream_is_held_in_memory_or_refused():
    with pytest.raises(UserError, match=r"data set without numbers \(Stream\) found.*hold = true reads it once into memory"):
        as_data_set(Stream())
    data = as_data_set(Stream(), hold=True)
    assert torch.equal(data.train_samples, X)
    assert torch.equal(as_data_set(DataLoader(Stream(), batch_size=4), hold=True).train_samples, X)


def test_a_data_set_of_the_toolkit_stays_what_it_is():
    digits = Digits().load()
    assert as_data_set(digits) is digits
    assert torch.equal(as_data_set(Digits()).train_samples, digits.train_samples)
    with pytest.raises(UserError, match=r"digits: a data set has its test set and options already"):
        as_data_set(digits, classes=10)


def test_a_share_of_every_class_is_held_out():
    data = as_data_set(Own(), test_share=0.25, class_names=("a", "b", "c"))
    assert torch.bincount(data.test_labels).tolist() == [2, 2, 2]
    assert torch.bincount(data.train_labels).tolist() == [6, 6, 6]
    assert not set(data.test_samples[:].flatten(1)[:, 0].tolist()) & set(data.train_samples[:].flatten(1)[:, 0].tolist())


def test_labels_that_a_data_set_keeps_are_not_read_one_by_one():
    data = Own(targets=Y.tolist())
    assert torch.equal(as_data_set(data).train_labels, Y)
    assert len(data.read) <= 17
    subset = as_data_set(Subset(data, [3, 4, 5, 3]), classes=3)
    assert subset.train_labels.tolist() == [0, 1, 2, 0]


def test_labels_that_a_transform_changes_are_those_of_the_items():
    data = Own(lambda i: (X[i], (int(Y[i]) + 1) % 3), targets=Y.tolist())
    assert torch.equal(as_data_set(data).train_labels, (Y + 1) % 3)


def test_a_label_that_changes_between_readings_is_refused():
    flips = iter([*Y.tolist(), *(1 - Y % 2).tolist()])
    data = as_data_set(Own(lambda i: (X[i], 0 if i == 0 else next(flips, 0))), classes=3)
    with pytest.raises(UserError, match=r"label of sample \d+ is \d, but was \d when labels were read"):
        data.train_samples[:]


def test_pictures_are_converted():
    grey = Own(lambda i: (Image.new("L", (4, 5), i), i % 2), targets=[i % 2 for i in range(24)])
    data = as_data_set(grey, scale="1/255")
    assert data.train_samples.shape == (24, 1, 5, 4)
    assert data.train_samples[torch.tensor([7])].unique().tolist() == [pytest.approx(7 / 255)]
    assert as_data_set(grey, channels=3).train_samples[:1].shape == (1, 3, 5, 4)
    with pytest.raises(UserError, match=r"sample 0: an image of mode CMYK found; set data\.channels to 1 or 3"):
        as_data_set(Own(lambda i: (Image.new("CMYK", (4, 5)), i % 2)))


def test_random_draws_follow_from_the_epoch_and_the_sample_alone():
    def drawn(i):
        return torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()]), i % 2  # noqa: NPY002

    samples = as_data_set(Own(drawn)).train_samples
    labels, batches = torch.arange(24) % 2, torch.randperm(24).split(5)

    def epoch(seed, workers):
        torch.manual_seed(seed)
        fed = feed(samples, labels, batches, workers)
        return torch.cat([x for _, x, _ in fed])[torch.cat(batches).argsort()]

    states = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = epoch(1, 0)
    assert torch.equal(first, epoch(1, 2))
    assert len(first.unique()) == 72
    assert not (first == epoch(2, 0)).any()
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # noqa: NPY002


def fails(_):
    raise RuntimeError("no such tape")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Own(count=0), r"own data: no samples found"),
        (Own(fails), r"own data: sample 0: RuntimeError: no such tape"),
        (Own(lambda i: X[i, 0, 0]), r"sample 0: Tensor found, no sample at 0 in it; name it in data\.sample"),
        (Own(lambda i: {"x": X[i]}), r"sample 0: item with keys x found, no sample at 0 in it"),
        (Own(lambda _: ("text", 0)), r"sample 0: str found, numbers expected"),
        (Own(lambda i: (X[i], "cat")), r"label of sample 0 is cat, a whole number expected"),
        (Own(lambda i: (X[i], -1 if i == 9 else 0)), r"label of sample 9 is -1, 0 or more expected"),
        (Own(lambda i: (X[i] / (i != 9), i % 2)), r"sample 9 holds values that are not finite"),
        ((X, Y[:-1]), r"own data: labels: 23 labels found for 24 samples"),
        ((X / 0, Y), r"own data: samples: sample 0 holds values that are no finite float32"),
        (X, r"samples without labels found; give a pair \(x, y\)"),
        (((X, Y), (X[:, :1], Y)), r"own data, test: samples of shape \(1, 3\) found, \(2, 3\) expected"),
        (((X, Y), (X, Y + 1)), r"label of test sample 2 is 3, a class without training samples"),
        (3, r"int found; a torch Dataset, a DataLoader, or a pair of arrays expected"),
        (DataLoader(Own(), sampler=[1, 2]), r"a DataLoader with a sampler of its own found"),
        (DataLoader(Own(), collate_fn=list), r"a DataLoader with a collate_fn of its own found"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as error:
        as_data_set(given)
    assert len(str(error.value).splitlines()) == 1


def test_samples_of_another_shape_are_refused_when_they_are_read():
    data = as_data_set(Own(lambda i: (X[i] if i != 5 else X[i, :1], i % 2)))
    with pytest.raises(UserError, match=r"sample 5 has the shape \(1, 3\), \(2, 3\) expected as of the first"):
        data.train_samples[:]


def test_an_unknown_option_is_refused():
    with pytest.raises(UserError, match=r"own data: shuffle: Extra inputs are not permitted"):
        as_data_set((X, Y), shuffle=True)


@pytest.fixture
def factories(monkeypatch):
    module = ModuleType("own_data_of_a_user")
    module.pair = lambda count=24: ((X[:count], Y[:count]), (X[:6], Y[:6]))
    module.table = lambda: {"train": Own(), "test": Own(count=6)}
    module.alone = lambda: Own()
    module.fails = fails
    monkeypatch.setitem(sys.modules, "own_data_of_a_user", module)


@pytest.mark.usefixtures("factories")
def test_a_recipe_names_the_function_that_makes_the_data():
    data = TorchDataSet(factory="own_data_of_a_user:pair", arguments={"count": 12}).load()
    assert (len(data.train_labels), len(data.test_labels)) == (12, 6)
    table = TorchDataSet(factory="own_data_of_a_user:table", normalize={"mean": [1.0], "std": [2.0]}).load()
    assert torch.equal(table.train_samples[:], (X - 1) / 2)
    assert len(TorchDataSet(factory="own_data_of_a_user:alone").load().test_labels) == 6
    with pytest.raises(UserError, match=r"factory 'own_data_of_a_user:fails': "):
        TorchDataSet(factory="own_data_of_a_user:fails").load()
    with pytest.raises(ValueError, match=r"factory 'own_data_of_a_user:make': module own_data_of_a_user has no name 'make'"):
        TorchDataSet(factory="own_data_of_a_user:make").load()


class Installed(Own):
    """As if it were of an installed package."""


Installed.__module__ = "torch.utils.data"


@pytest.mark.usefixtures("factories")
def test_a_recipe_calls_classes_of_data_sets_of_installed_packages_and_none_of_their_functions(tmp_path):
    sys.modules["own_data_of_a_user"].Installed = Installed
    assert len(TorchDataSet(factory="own_data_of_a_user:Installed").load().test_labels) == 6
    proof = tmp_path / "called"
    with pytest.raises(ValueError, match=r"factory 'subprocess:getoutput': .* write a function of your own that calls it"):
        TorchDataSet(factory="subprocess:getoutput", arguments={"cmd": f"touch {proof}"})
    assert not proof.exists()


def test_a_stratified_choice_has_every_class_by_its_share():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    for count in (1, 10, 37, 100):
        chosen = stratified(labels, count, torch.randperm(100))
        assert len(chosen.unique()) == count
        assert (torch.bincount(labels[chosen], minlength=3) - count * torch.tensor([0.5, 0.3, 0.2])).abs().max() < 1
