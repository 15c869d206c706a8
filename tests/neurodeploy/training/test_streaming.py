"""Training on samples that are read as it goes on: the same weights with any number of workers, and after an interruption."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from checks.differences import differences
from checks.streaming import draw
from neurodeploy.data import Samples
from neurodeploy.io.errors import UserError
from neurodeploy.recipe import parse
from neurodeploy.training import train
from neurodeploy.training.teacher import KnownAnswers, freeze

RECIPE = """
name = "streamed"
seeds = [0]
steps = 2
baseline = "student"
deployed = "student"
data = {{ kind = "folder", folder = "{folder}", workers = {workers}, normalize = {{ mean = [0.5], std = [0.25] }} }}
augmentation = [{{ kind = "crop", padding = 2 }}, {{ kind = "flip" }}]
network = {{ kind = "conv", channels = [4, 6], strides = [2, 2] }}
teacher = {{ epochs = 2, batch_size = 33, accumulate = 2, patience = 5, validation_samples = 40, stratified = true }}

[[student]]
name = "student"
training = {{ epochs = 1 }}
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    draw(folder, 200, 20)
    return folder


class Held:
    """Counts how many samples of a set are in memory at a time."""

    def __init__(self, samples: Samples):
        self.samples, self.shape, self.most = samples, samples.shape, 0

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        batch = self.samples[index]
        self.most = max(self.most, len(batch))
        return batch


def trained(recipe, folder, data=None, **options):
    return train(recipe, "teacher", 0, folder, data=data or recipe.data.load(), **options).state_dict()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_workers_change_nothing(pictures, tmp_path):
    none, two = (parse(RECIPE.format(folder=pictures, workers=workers), origin="r") for workers in (0, 2))
    assert same(trained(none, tmp_path / "none"), trained(two, tmp_path / "two"))


def test_what_is_read_is_what_is_held_in_memory(pictures, tmp_path):
    recipe = parse(RECIPE.format(folder=pictures, workers=0), origin="r")
    data = recipe.data.load()
    whole = replace(data, train_samples=data.train_samples[:], test_samples=data.test_samples[:])
    plain = recipe.model_copy(update={"augmentation": ()})
    assert same(trained(plain, tmp_path / "streamed", data), trained(plain, tmp_path / "whole", whole))


def test_an_interrupted_training_ends_as_one_that_was_not(pictures, tmp_path):
    recipe = parse(RECIPE.format(folder=pictures, workers=2), origin="r")
    trained(recipe, tmp_path / "whole")

    def interrupt(epoch, _samples):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(recipe, tmp_path / "cut", watch=interrupt)
    trained(recipe, tmp_path / "cut", resume=True)
    assert differences(tmp_path / "whole", tmp_path / "cut") == []


def test_no_more_than_a_batch_is_read_at_a_time(pictures, tmp_path):
    recipe = parse(RECIPE.format(folder=pictures, workers=0), origin="r")
    data = recipe.data.load()
    held = Held(data.train_samples.raw)
    trained(recipe, tmp_path / "run", replace(data, train_samples=replace(data.train_samples, raw=held)))
    assert held.most <= 50  # samples of an evaluation's batch


def test_answers_that_take_too_much_memory_are_refused(pictures, tmp_path, monkeypatch):
    recipe = parse(RECIPE.format(folder=pictures, workers=0), origin="r")
    data = recipe.data.load()
    teacher = freeze(train(recipe, "teacher", 0, tmp_path, data=data))
    assert KnownAnswers(teacher, data.train_samples, torch.device("cpu"))[torch.tensor([3])].output.logits.shape == (1, 10)
    monkeypatch.setattr("neurodeploy.training.teacher._MOST_KEPT", 1000)
    with pytest.raises(
        UserError, match=r"known_teacher: the teacher's answers for 200 samples take .* leave out known_teacher"
    ):
        KnownAnswers(teacher, data.train_samples, torch.device("cpu"))


RANKS = Path(__file__).parents[2] / "own" / "ranks.py"
LOGGING = """
import os
import torch
from torch.utils.data import Dataset

class Logged(Dataset):
    targets = [number % 2 for number in range(24)]

    def __len__(self):
        return 24

    def __getitem__(self, number):
        with open(f"read-by-{os.environ.get('RANK', 'all')}", "a") as file:
            file.write(f"{number}\\n")
        return torch.full((1, 8, 8), number / 32) + torch.eye(8) * (number % 2), number % 2

def make():
    return Logged(), (torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
"""


def test_each_process_reads_its_own_samples_only(tmp_path):
    (tmp_path / "logged.py").write_text(LOGGING)
    text = RECIPE.format(folder="x", workers=0).replace(
        'kind = "folder", folder = "x"', 'kind = "torch", factory = "logged:make"'
    )
    text = text.replace('augmentation = [{ kind = "crop", padding = 2 }, { kind = "flip" }]\n', "")
    text = text.replace(
        "batch_size = 33, accumulate = 2, patience = 5, validation_samples = 40, stratified = true", "batch_size = 8"
    )
    (tmp_path / "logged.toml").write_text(text.replace("epochs = 2", "epochs = 1"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(RANKS), "2", "train", "logged.toml", "--device", "cpu", "--output", "run"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # labels are probed first; the last readings are those of the student's only epoch
    read = [[int(line) for line in (tmp_path / f"read-by-{rank}").read_text().split()][-12:] for rank in (0, 1)]
    assert sorted(read[0] + read[1]) == list(range(24))
