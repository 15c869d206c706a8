"""Networks whose weights others publish: the same answers as the networks that those weights were trained in."""

import os
import sys
from pathlib import Path

import pytest
import torch

from neurodeploy.networks.published import CifarResNet, TinyResNet8
from neurodeploy.recipe.reading import parse_content, read_content
from neurodeploy.training.experiment import train_all

sys.path.insert(0, str(Path(__file__).parents[2] / "own"))
from cifar_resnets import ResNet8, ResNet20, with_weights

GIVEN = os.environ.get("NEURODEPLOY_TEST_DATA")
needs_files = pytest.mark.skipif(GIVEN is None, reason="NEURODEPLOY_TEST_DATA names no folder with weights and data of others")
BYTES = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()


def drawn(network):
    """Weights, and statistics of batch norm, that are not those of an untrained network."""
    generator = torch.Generator().manual_seed(1)
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            state[name] = noise + 0.5 if "var" in name else (noise - 0.4) / max(1, value[:1].numel()) ** 0.5
    network.load_state_dict(state)
    return network.eval()


@pytest.mark.parametrize("blocks", [3, 5, 9])
def test_a_residual_network_of_cifar_has_the_names_and_answers_of_the_published_ones(blocks):
    theirs = drawn(ResNet20(blocks))
    ours = CifarResNet(blocks)
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(BYTES / 255), theirs(BYTES / 255), rtol=1e-4, atol=1e-4)


def test_the_tiny_network_answers_to_bytes_over_255_what_the_published_one_answers_to_bytes():
    theirs = drawn(ResNet8())
    ours = TinyResNet8()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(BYTES / 255), theirs(BYTES), rtol=1e-4, atol=1e-3)


@needs_files
@pytest.mark.parametrize(("name", "network"), [("qcfs-resnet20-cifar10", ResNet20), ("qcfs-resnet8-cifar10", ResNet8)])
def test_the_recipe_of_published_weights_runs_with_its_teacher_as_published(name, network, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(str(GIVEN), "teachers"))
    content, origin = read_content(name)
    content["data"] |= {"folder": str(Path(str(GIVEN), "data", "cifar10")), "train_limit": 2, "test_limit": 6}
    for one in (*content["quantized"], *content["student"]):
        one["training"]["epochs"] = min(1, one["training"]["epochs"])
    recipe = parse_content(content, origin)
    data = recipe.data.load()
    networks = {role: trained for _, role, trained in train_all(recipe, tmp_path / "run", data)}
    assert list(networks) == list(recipe.roles)
    samples = data.test_samples[:]
    with torch.no_grad():
        answered = networks["teacher"](samples).argmax(1)
        assert (answered == data.test_labels).float().mean() > 0.75
        for role in ("t4-converted", "t4", "t2", "t1"):
            assert networks[role](samples).step_logits.shape == (recipe.steps_of(role), len(samples), 10)
    theirs = with_weights(network(), recipe.teacher.weights)
    raw = data.test_samples if network is ResNet20 else samples * 255
    with torch.no_grad():
        torch.testing.assert_close(networks["teacher"](samples), theirs(raw[:]), rtol=1e-3, atol=1e-3)
