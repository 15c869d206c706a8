"""Two processes that share each batch train the network that one process trains, and survive being killed."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from checks.launch import alive, kill
from neurodeploy.training import METRICS, checkpoint
from neurodeploy.training.experiment import checkpoint_of, folder_of
from neurodeploy.training.parallel import share

RECIPE = """
name = "shared"
seeds = [0]
steps = 3
baseline = "student"
deployed = "student"
data = { kind = "digits" }
augmentation = [{ kind = "crop", padding = 1 }, { kind = "mixup" }]
network = { kind = "resnet", channels = [6, 8], blocks = [1, 1] }
teacher = { epochs = 2, batch_size = 51, accumulate = 2, average = 0.9 }

[[student]]
name = "student"
training = { epochs = 3, batch_size = 64, learning_rate = 0.05, optimizer = "adam" }
loss = [{ kind = "cross-entropy" }, { kind = "laf" }, { kind = "activity", weight = 0.1 }]
"""
SCRIPT = Path(__file__).with_name("train_in_float64.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "shared.toml"
    path.write_text(RECIPE)
    return path


def run(*command) -> subprocess.CompletedProcess:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


class Trainer:
    """Trainings in float64, whose processes are forked from one that has imported everything."""

    def __init__(self, recipe: Path, log: Path) -> None:
        self._log = log
        command = [sys.executable, str(SCRIPT), str(recipe)]
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=ENVIRONMENT
            )

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, processes: int, folder: Path) -> list[int]:
        """Train in a folder, or go on there; the numbers of the processes."""
        self._process.stdin.write(f"{processes} {folder}\n")
        self._process.stdin.flush()
        pids = [int(pid) for pid in self._process.stdout.readline().split()]
        assert len(pids) == processes, self.said()
        return pids

    def ended_well(self) -> bool:
        return self._process.stdout.readline() == "well\n"

    def said(self) -> str:
        return self._log.read_text()[-3000:]


def weights(root, role) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint_of(root, 0, role)).network.state_dict()


def test_two_processes_end_with_the_weights_of_one_within_rounding_also_after_a_kill(tmp_path, recipe):
    """In float64: in float32, one spike that rounding moves changes all later ones."""
    victim = folder_of(tmp_path / "cut", 0, "student") / METRICS
    with Trainer(recipe, tmp_path / "said") as trainer:
        trainer.start(1, tmp_path / "one")
        assert trainer.ended_well(), trainer.said()
        trainer.start(2, tmp_path / "two")
        assert trainer.ended_well(), trainer.said()
        processes = trainer.start(2, tmp_path / "cut")
        while alive(processes) and not (victim.exists() and victim.read_text().count("\n") >= 1):
            time.sleep(0.01)
        kill(processes)
        assert not trainer.ended_well()
        assert not checkpoint.load(checkpoint_of(tmp_path / "cut", 0, "teacher")).progress.epoch < 2
        trainer.start(2, tmp_path / "cut")
        assert trainer.ended_well(), trainer.said()
    for role in ("teacher", "student"):
        one = weights(tmp_path / "one", role)
        two, cut = weights(tmp_path / "two", role), weights(tmp_path / "cut", role)
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-6, atol=1e-7)
            torch.testing.assert_close(cut[name], value, rtol=1e-3, atol=1e-4)


def test_the_command_trains_under_torchrun_and_says_everything_once(tmp_path, recipe):
    recipe.write_text(re.sub(r"epochs = \d", "epochs = 1", RECIPE))
    done = run(*TORCHRUN, "-m", "neurodeploy", "train", recipe, "--device", "cpu", "--output", tmp_path / "run")
    assert len(re.findall(r"test accuracy \d", done.stdout)) == 2
    assert checkpoint.load(checkpoint_of(tmp_path / "run", 0, "student")).progress.complete


class Group:
    """What `share` needs to know of a Fabric."""

    def __init__(self, rank: int, size: int) -> None:
        self.global_rank, self.world_size = rank, size


@pytest.mark.parametrize("batch", [7, 8, 64])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_shares_of_a_batch_weigh_every_sample_alike(batch, size):
    index = torch.randperm(100)[:batch]
    weight = torch.zeros(100)
    for piece in index.chunk(3):
        for rank in range(size):
            mine, factor = share(len(piece), Group(rank, size), batch)
            weight[piece[mine]] += factor / len(mine) / size
    assert torch.allclose(weight[index], torch.full((batch,), 1 / batch))
    assert weight.sum() == pytest.approx(1)
