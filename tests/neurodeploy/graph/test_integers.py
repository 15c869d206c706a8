"""Cells that compute in SLAYER's whole numbers, recognised: as a chip's neurons, and as standard ones in floats."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.dynamics.fixed_forms import fixed_neuron, fixed_potential
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.integers import in_floats, in_integers
from neurodeploy.graph.standard import leaky
from neurodeploy.graph.tracing.slayer import Constants, spike_step

N, SCALE = 8, 4096
THRESHOLD = (1.25 + 0.01 / SCALE) * SCALE


class Layer(nn.Module):
    """Neurons as SLAYER's, behind weights; `[B, N, T]`. With `back` they are written as a recurrent block's are."""

    def __init__(self, weight: Tensor, *, back: Tensor | None = None, kept: Any = (3072.0, 3968.0), **others: Any) -> None:
        super().__init__()
        self.weight, self.back = weight, back
        values = {"scale": SCALE, "exact": True, "threshold": THRESHOLD, "shift": None, "divisor": None, "graded": False}
        both = tuple(torch.as_tensor(one) for one in kept)
        self.constants = Constants(both, **{**values, "by_call": back is not None, **others})

    def forward(self, x: Tensor) -> Tensor:
        state, made = dict[str, Any](), list[Tensor]()
        for t in range(x.shape[-1]):
            given = nn.functional.linear(x[..., t], self.weight)
            if self.back is not None:
                given = given + torch.matmul(made[-1] if made else torch.zeros_like(given), self.back)
            made.append(spike_step(self.constants, state, given))
        return torch.stack(made, -1)


def whole(*shape: int, seed: int = 0, low: int = -20, high: int = 32, step: float = 1 / 32) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, shape)).float() * step


EVENTS = (torch.rand(6, N, 25, generator=torch.Generator().manual_seed(0)) < 0.4).float()
MEAN = whole(N, seed=3, low=-4, high=8)
LAYERS = {
    "plain": lambda: Layer(whole(N, N)),
    "decays of each": lambda: Layer(whole(N, N), kept=(torch.arange(N) * 512.0, torch.arange(N) * 500.0)),
    "normalised": lambda: Layer(whole(N, N), shift=MEAN),
    "recurrent": lambda: Layer(whole(N, N), back=whole(N, N, seed=1, low=-40)),
    "scale 32": lambda: Layer(whole(N, N, step=1 / 16), scale=2048, threshold=1.25 * 2048 + 0.01),
}


def graph_of(layer: nn.Module) -> Graph:
    found = nd.deploy(layer, EVENTS, time_axis=-1).graph
    assert found is not None
    return found


def fired(graph: Graph) -> dict[str, Any]:
    return interpreter.spikes(graph, interpreter.run(graph, EVENTS.movedim(-1, 0).numpy()))


@pytest.mark.parametrize("name", LAYERS)
def test_they_are_a_chips_neurons_and_fire_the_same(name):
    graph = graph_of(LAYERS[name]())
    made = in_integers(graph)
    assert list(made.replaced) == list(graph.spiking)
    assert not made.graph.of(ops.Updated)
    (node,) = made.graph.of(ops.FixedPointNeuronNode)
    (before, after) = (next(iter(fired(one).values())) for one in (graph, made.graph))
    assert 0.05 < before.mean() < 0.9
    assert np.array_equal(before, after)
    (linear,) = made.graph.of(ops.LinearNode)
    assert not (linear.weight % 2).any()
    expected = {
        "plain": (1024, 128, 80, 0),
        "decays of each": (4096 - 512 * np.arange(N), 4096 - 500 * np.arange(N), 80, 0),
        "normalised": (1024, 128, 80, (-64 * MEAN.numpy()).astype(int)),
        "recurrent": (1024, 128, 80, 0),
        "scale 32": (1024, 128, 40, 0),
    }[name]
    for value, wanted in zip((node.i_decay, node.v_decay, node.threshold, node.bias), expected, strict=True):
        assert np.array_equal(value, wanted)
    if name == "recurrent":
        assert np.array_equal(node.recurrent, 64 * whole(N, N, seed=1, low=-40).numpy().T)


@pytest.mark.parametrize("name", ["plain", "normalised", "recurrent"])
def test_in_floats_they_are_standard_neurons_that_fire_nearly_the_same(name):
    graph = graph_of(LAYERS[name]())
    made = in_floats(graph)
    assert list(made.replaced) == list(graph.spiking)
    cells = made.graph.of(ops.CellNode)
    assert len(cells) == (name == "recurrent")
    assert all(leaky(cell) is not None for cell in cells)
    (before, after) = (next(iter(fired(one).values())) for one in (graph, made.graph))
    assert (before != after).mean() < 0.01


@pytest.mark.parametrize(
    "layer",
    [
        Layer(whole(N, N, step=1 / 48)),
        Layer(whole(N, N, step=1 / 64)),
        Layer(whole(N, N), back=whole(N, N, seed=1, step=1 / 50)),
        Layer(whole(N, N), shift=MEAN + 1 / 100),
        Layer(whole(N, N), shift=MEAN, divisor=torch.tensor(2.0)),
        Layer(whole(N, N), threshold=5000.5),
    ],
    ids=["weights between", "odd weights", "what comes back is between", "mean between", "divided", "threshold between"],
)
def test_what_is_not_in_the_chips_integers_stays(layer):
    graph = graph_of(layer)
    made = in_integers(graph)
    assert made.replaced == ()
    assert made.graph is graph


def test_decays_of_each_neuron_stay_as_they_are_in_floats():
    assert in_floats(graph_of(LAYERS["decays of each"]())).replaced == ()


def test_another_truncation_is_another_neuron():
    (cell,) = graph_of(LAYERS["recurrent"]()).of(ops.CellNode)
    assert fixed_neuron(cell.update, cell.arrays) is not None
    assert fixed_potential(cell.update, cell.arrays) is None
    for number, one in enumerate(cell.update.instructions):
        changed = {"trunc": "floor", "ge": "gt", "add": "sub", "div": "mul"}.get(one.operation)
        if changed is None:
            continue
        others = list(cell.update.instructions)
        others[number] = replace(one, operation=changed)
        assert fixed_neuron(replace(cell.update, instructions=tuple(others)), cell.arrays) is None


def test_the_hosts_neurons_stay():
    class Static(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = LAYERS["plain"](), LAYERS["plain"]()

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x.unsqueeze(-1).expand(-1, -1, 10))).mean(-1)

    found = nd.deploy(Static().eval(), torch.rand(4, N)).graph
    assert found is not None
    assert in_integers(found).replaced == found.spiking[1:]
