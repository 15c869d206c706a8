"""One network, written in each framework, in layers of the toolkit and as a loop: the same graph, spikes and energies."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.standard import standardized

STEPS, DECAY, THRESHOLD = 12, 0.5, 0.7
FIRST = torch.randint(-8, 9, (12, 6), generator=torch.Generator().manual_seed(0)) / 8
SECOND = torch.randint(-8, 9, (4, 12), generator=torch.Generator().manual_seed(1)) / 8
SAMPLES = torch.randint(0, 2, (STEPS, 3, 6), generator=torch.Generator().manual_seed(2)).float()
"""`[T, B, N]`; all sums of weights are multiples of 1/8, which no potential's distance to the threshold is lost in."""


def linear(weight: Tensor, factor: float = 1.0) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight.data = weight * factor
    return made


class Loop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = linear(FIRST), linear(SECOND)

    def forward(self, x: Tensor) -> Tensor:
        potential, answers = torch.zeros(x.shape[1], 12), []
        for step in x:
            potential = DECAY * potential + self.first(step)
            spikes = (potential > THRESHOLD).float()
            potential = potential * (1 - spikes)
            answers.append(self.second(spikes))
        return torch.stack(answers).mean(0)


def toolkit() -> tuple[nn.Module, dict[str, Any]]:
    from neurodeploy.dynamics.layers import TimeMean

    layers = linear(FIRST), nd.LIF(decay=DECAY, threshold=THRESHOLD), linear(SECOND), TimeMean()
    return nn.Sequential(*layers), {"batch_axis": 1}


def loop() -> tuple[nn.Module, dict[str, Any]]:
    return Loop(), {"batch_axis": 1}


def spikingjelly() -> tuple[nn.Module, dict[str, Any]]:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    lif = neuron.LIFNode(tau=1 / (1 - DECAY), decay_input=False, v_threshold=THRESHOLD, v_reset=0.0, step_mode="m")
    return nn.Sequential(linear(FIRST), lif, linear(SECOND)), {"batch_axis": 1}


def norse() -> tuple[nn.Module, dict[str, Any]]:
    torch_of_norse = pytest.importorskip("norse.torch")
    parameters = torch_of_norse.LIFBoxParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(THRESHOLD))
    cells = linear(FIRST, 2.0), torch_of_norse.LIFBoxCell(parameters), linear(SECOND)  # its input is multiplied by dt / τ = 1/2
    return torch_of_norse.SequentialState(*cells), {"batch_axis": 1, "steps": STEPS}


def sinabs() -> tuple[nn.Module, dict[str, Any]]:
    layers = pytest.importorskip("sinabs.layers")
    activation = pytest.importorskip("sinabs.activation")
    lif = layers.LIF(
        tau_mem=-1 / math.log(DECAY),
        spike_threshold=THRESHOLD,
        spike_fn=activation.SingleSpike,
        reset_fn=activation.MembraneReset(),
        norm_input=False,
        min_v_mem=None,
    )
    return nn.Sequential(linear(FIRST), lif, linear(SECOND)), {"time_axis": 1}


def snntorch() -> tuple[nn.Module, dict[str, Any]]:
    framework = pytest.importorskip("snntorch")

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = linear(FIRST), linear(SECOND)
            self.lif = framework.Leaky(beta=DECAY, threshold=THRESHOLD, reset_mechanism="zero", reset_delay=False)

        def forward(self, x: Tensor) -> Tensor:
            potential, answers = self.lif.init_leaky(), []
            for step in x:
                spikes, potential = self.lif(self.first(step), potential)
                answers.append(self.second(spikes))
            return torch.stack(answers)

    return Network(), {"batch_axis": 1}


def deployed(make: Callable[[], tuple[nn.Module, dict[str, Any]]]) -> nd.Model:
    network, options = make()
    given = SAMPLES.transpose(0, 1).contiguous() if "time_axis" in options else SAMPLES
    return nd.deploy(network.eval(), given, **options)


def fired(graph: Graph | None) -> np.ndarray:
    assert graph is not None
    (layer,) = graph.spiking
    return interpreter.run(graph, SAMPLES.numpy())[layer]


FRAMEWORKS = (loop, spikingjelly, norse, sinabs, snntorch)


@pytest.mark.parametrize("make", FRAMEWORKS)
def test_it_fires_the_same_spikes(make):
    expected = fired(deployed(toolkit).graph)
    assert 0.05 < expected.mean() < 0.5
    assert np.array_equal(fired(deployed(make).graph), expected)


@pytest.mark.parametrize("make", FRAMEWORKS)
def test_it_is_the_same_graph_once_its_neurons_are_the_toolkits(make):
    graph = deployed(make).graph
    assert graph is not None
    made = standardized(graph).graph
    assert [node.kind for node in made.nodes] == ["Input", "Linear", "Neuron", "Linear", "TimeMean", "Output"]
    (neuron,) = made.of(ops.NeuronNode)
    scale = 2.0 if make is norse else 1.0
    assert neuron.parameters.decay == pytest.approx(DECAY)
    assert neuron.parameters.threshold == pytest.approx(THRESHOLD * scale)
    assert neuron.parameters.reset == "hard"


@pytest.mark.parametrize("make", FRAMEWORKS)
def test_it_costs_the_same_energy(make):
    reports = [nd.energy(deployed(one), SAMPLES.transpose(0, 1)) for one in (toolkit, make)]
    expected, found = ([(row.sops, row.macs, row.spikes) for row in report.layers] for report in reports)
    assert any(sops for sops, _, _ in expected)
    assert found == expected
