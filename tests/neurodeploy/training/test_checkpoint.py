import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from neurodeploy.io.errors import UserError
from neurodeploy.recipe import load as load_recipe
from neurodeploy.training import checkpoint
from neurodeploy.training.checkpoint import Progress


@pytest.fixture
def progress() -> Progress:
    return Progress(recipe=load_recipe("digits"), role="student", seed=3, epoch=2, in_channels=1, classes=10)


@pytest.fixture
def path(tmp_path, progress):
    network = progress.build()
    momentum = {name: torch.full_like(p, 0.5) for name, p in network.named_parameters()}
    checkpoint.save(tmp_path / "c.safetensors", network, progress, {"optimizer": momentum})
    return tmp_path / "c.safetensors"


def test_a_checkpoint_gives_back_network_optimizer_and_progress(path, progress):
    loaded = checkpoint.load(path)
    assert loaded.progress == progress
    assert not loaded.network.training
    assert set(loaded.group("optimizer")) == {name for name, _ in loaded.network.named_parameters()}
    assert checkpoint.describe(progress) == "digits/student, seed 3, epoch 2"
    assert not progress.complete


def test_a_missing_truncated_or_foreign_file_is_refused_by_name(path, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        checkpoint.load(tmp_path / "absent.safetensors")
    data = path.read_bytes()
    for damaged in (b"", data[:100], data[: len(data) // 2], b"\xff" * 200, b"PK\x03\x04" + data):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"c\.safetensors: not a readable checkpoint"):
            checkpoint.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="not a checkpoint of neurodeploy"):
        checkpoint.load(path)


def rewritten_header(path, change) -> None:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    own = json.loads(header["__metadata__"]["neurodeploy"])
    change(own)
    header["__metadata__"]["neurodeploy"] = json.dumps(own)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: own.update(format=99), "header field format"),
        (lambda own: own.update(role="nobody"), "header field role: 'nobody' found"),
        (lambda own: own.pop("seed"), "header field seed"),
        (lambda own: own["recipe"]["network"].update(channels=[16, 32, 32, 65]), "do not fit the network"),
    ],
)
def test_a_header_at_odds_with_the_file_is_refused_by_field(path, change, message):
    rewritten_header(path, change)
    with pytest.raises(UserError, match=message):
        checkpoint.load(path)


def test_weights_that_are_not_finite_are_refused_by_name(path, progress):
    network = progress.build()
    with torch.no_grad():
        network.get_submodule("conv2").weight[0, 0, 0, 0] = float("nan")
    checkpoint.save(path, network, progress, {})
    with pytest.raises(UserError, match=r"tensor conv2\.weight holds values that are not finite"):
        checkpoint.load(path)
