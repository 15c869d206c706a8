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


class Chain(nn.Module):
    """Two dense blocks with the weights and constants of a recording."""

    def __init__(self, recorded: Any, shift: int) -> None:
        super().__init__()
        self.recorded, self.shift = recorded, shift

    def forward(self, x: Tensor) -> Tensor:
        for number in range(2):
            block = f"blocks.{number}"
            weight = torch.from_numpy(self.recorded.weights[f"{block}.synapse.weight"])
            if not self.recorded.name.endswith("float"):
                weight = (32 * weight).round().clamp(-128, 127) / 32
            z = functional.conv3d(x.reshape(len(x), -1, 1, 1, x.shape[-1]), weight).reshape(len(x), -1, x.shape[-1])
            x = delayed(fired(self.recorded.layers[f"{block}.neuron"].constants, z), self.shift, axis=-1)
            own = self.recorded.weights.get(f"{block}.delay.delay")
            x = x if own is None else delayed(x, np.trunc(own).astype(np.int64), axis=-1)
        return x


@pytest.mark.parametrize("name", CHAINS)
def test_the_graph_of_such_blocks_fires_what_slayer_fired(name):
    recorded = read(FILES / f"slayer-{name}.npz")
    x = torch.from_numpy(np.moveaxis(recorded.inputs, 0, -1).astype(np.float32))
    model = nd.deploy(Chain(recorded, 0 if name == "dense-now" else 1), x, time_axis=-1)
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
