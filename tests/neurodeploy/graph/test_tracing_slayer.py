"""SLAYER's neurons as they are written here fire as recorded ones do, and become layers of a graph that fires so too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import neurodeploy as nd
from checks.foreign.recorded import read
from neurodeploy.dynamics.delays import delayed
from neurodeploy.graph import interpreter
from neurodeploy.graph.tracing.slayer import Constants, leaked, spike_step

FILES = Path(__file__).parents[2] / "files" / "foreign"
CHAINS = ("dense", "dense-float", "dense-now", "dense-channels", "delays")
RECORDED = (*CHAINS, "conv", "recurrent", "affine", "affine-current")


def constants(recorded: Any) -> Constants:
    """Of a layer of neurons in a recording."""
    kept = tuple(
        4096 - torch.round(torch.as_tensor(recorded[name]).reshape(-1).float()) for name in ("current_decay", "voltage_decay")
    )
    scale = recorded["s_scale"]
    return Constants(
        (kept[0], kept[1]), scale, True, recorded["threshold"] * scale, shift=None, divisor=None, graded=False, by_call=False
    )


def fired(recorded: Any, given: Tensor) -> Tensor:
    """`[B, …, T]` → `[B, …, T]`."""
    known, state = constants(recorded), dict[str, Any]()
    return torch.stack([spike_step(known, state, given[..., t]) for t in range(given.shape[-1])], -1)


@pytest.mark.parametrize("name", RECORDED)
def test_neurons_fire_as_recorded_ones_from_what_those_were_given(name):
    recorded = read(FILES / f"slayer-{name}.npz")
    for layer, spikes in recorded.spikes.items():
        given = torch.from_numpy(np.moveaxis(recorded.layers[layer].given, 0, -1).astype(np.float32))
        assert np.array_equal(fired(recorded.layers[layer].constants, given).movedim(-1, 0).numpy(), spikes)


class Block(nn.Module):
    """A dense block with the weights and constants of a recording."""

    def __init__(self, recorded: Any, name: str, shift: int) -> None:
        super().__init__()
        self.weight = torch.from_numpy(recorded.weights[f"{name}.synapse.weight"])
        if not recorded.name.endswith("float"):
            self.weight = (32 * self.weight).round().clamp(-128, 127) / 32
        own = recorded.weights.get(f"{name}.delay.delay")
        self.delays = 0 if own is None else np.trunc(own).astype(np.int64)
        self.constants, self.shift = recorded.layers[f"{name}.neuron"].constants, shift

    def forward(self, x: Tensor) -> Tensor:
        z = functional.conv3d(x.reshape(len(x), -1, 1, 1, x.shape[-1]), self.weight).reshape(len(x), -1, x.shape[-1])
        return delayed(delayed(fired(self.constants, z), self.shift, axis=-1), self.delays, axis=-1)


@pytest.mark.parametrize("name", CHAINS)
def test_the_graph_of_such_blocks_fires_what_slayer_fired(name):
    recorded = read(FILES / f"slayer-{name}.npz")
    x = torch.from_numpy(np.moveaxis(recorded.inputs, 0, -1).astype(np.float32))
    shift = 0 if name == "dense-now" else 1
    blocks = nn.Sequential(*(Block(recorded, f"blocks.{number}", shift) for number in range(2)))
    model = nd.deploy(blocks, x, time_axis=-1)
    assert model.graph is not None
    tensors = interpreter.run(model.graph, recorded.inputs.astype(np.float32))
    found = interpreter.spikes(model.graph, tensors)
    assert len(found) == 2
    for mine, theirs in zip(found.values(), recorded.spikes.values(), strict=True):
        assert np.array_equal(mine, theirs)
    assert np.array_equal(tensors[model.graph.output.name], recorded.output.mean(0, dtype=np.float32))


def test_a_leak_is_that_of_integers_for_every_decay_and_sign():
    generator = np.random.default_rng(0)
    whole = np.concatenate([generator.integers(-(1 << 24) + 1, 1 << 24, 2000), np.arange(-300, 300)])
    for kept in (0, 1, 7, 2048, 3071, 3072, 4095, 4096):
        product = whole * kept
        expected = np.sign(product) * (np.abs(product) >> 12)
        found = leaked(torch.from_numpy(whole).float(), torch.tensor([float(kept)]))
        assert np.array_equal(found.numpy().astype(np.int64), expected)
