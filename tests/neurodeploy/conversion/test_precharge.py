"""Neurons that begin with a potential of their own: in training, in graphs, in checkpoints and in what is exported."""

import pytest
import torch
from torch import nn

import neurodeploy as nd
from neurodeploy.conversion import Method
from neurodeploy.dynamics.layers import PrechargedNeuron
from neurodeploy.dynamics.neurons import RESETS, NeuronParameters
from neurodeploy.graph import ops
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.training import checkpoint
from neurodeploy_exporters.verify import verify


@pytest.fixture(scope="module")
def ann():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 10)),
    ).eval()


SAMPLES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_they_go_on_from_there_as_neurons_do(reset, decay):
    initial = torch.tensor([0.0, 0.25, 0.75, 0.9375])
    current = torch.rand(6, 3, 4, 5, generator=torch.Generator().manual_seed(2))
    answer, potential = [], initial.reshape(1, 4, 1).expand(3, 4, 5)
    for step in current:
        charged = potential * decay + step
        fired = (charged > 1).float()
        potential = charged * (1 - fired) if reset == "hard" else charged - fired if reset == "soft" else charged
        answer.append(fired)
    assert torch.equal(PrechargedNeuron(NeuronParameters(decay, 1.0, reset), initial)(current), torch.stack(answer))


def test_a_twin_begins_at_half_of_its_thresholds_and_learns_where(ann):
    twin = nd.spiking(ann, SAMPLES, steps=4, reset="soft", precharge=True).train()
    layers = [twin.get_submodule(name) for name in twin.spiking]
    assert all(isinstance(layer, PrechargedNeuron) for layer in layers)
    assert all((layer.initial == 0.5).all() for layer in layers)
    twin(SAMPLES).logits.square().sum().backward()
    assert all(layer.initial.grad is not None and layer.initial.grad.any() for layer in layers)
    first = [bool(tap[0].any()) for tap in twin(SAMPLES).taps.values()]
    assert all(first)  # every layer fires in the first step


def test_the_half_is_not_given_twice(ann):
    method = Method("error", shift=True)
    plain, early = (
        nd.spiking(ann, SAMPLES, steps=4, reset="soft", method=method, precharge=charged) for charged in (False, True)
    )
    for name in plain.spiking:
        assert (plain.in_thresholds(name).offset == 1 / 8).all()
        assert not early.in_thresholds(name).offset.any()


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_in_torch_and_as_a_graph_it_answers_the_same(ann, reset):
    twin = nd.spiking(ann, SAMPLES, steps=5, reset=reset, precharge=True)
    for name in twin.spiking:
        twin.get_submodule(name).initial.data.uniform_(0, 0.9)
    graph = trace(twin, (1, 8, 8))
    assert len(graph.of(ops.CellNode)) == 3
    assert not graph.of(ops.NeuronNode)
    check_agreement(twin, graph, SAMPLES)


def test_a_checkpoint_makes_it_again_with_its_potentials(ann, tmp_path):
    twin = nd.spiking(ann, SAMPLES, steps=4, reset="soft", precharge=True)
    nd.distill(twin, ann, (SAMPLES, torch.arange(40) % 10), losses=[nd.losses.Response()], epochs=1, folder=tmp_path / "run")
    assert not all((twin.get_submodule(name).initial == 0.5).all() for name in twin.spiking)
    again = checkpoint.load(next((tmp_path / "run").rglob("checkpoint.safetensors"))).network
    with torch.no_grad():
        assert torch.equal(again(SAMPLES).logits, twin.eval()(SAMPLES).logits)


@pytest.mark.parametrize("target", ["onnx", "c"])
def test_what_is_exported_fires_the_same_spikes(ann, tmp_path, target):
    twin = nd.spiking(ann, SAMPLES, steps=4, reset="soft", precharge=True)
    model = nd.deploy(twin, SAMPLES)
    outcome = verify(nd.export(model, target, tmp_path / target, quantize="exact"))
    assert outcome.passed
    assert outcome.spikes_compared > 1000
    assert outcome.mismatches == 0


@pytest.mark.parametrize("target", ["lava", "nir"])
def test_targets_whose_neurons_begin_at_0_say_so(ann, tmp_path, target):
    model = nd.deploy(nd.spiking(ann, SAMPLES, steps=4, reset="soft", precharge=True), SAMPLES)
    with pytest.raises(UserError, match="its potential begins with another value than a reset leaves"):
        nd.export(model, target, tmp_path / target)


def test_its_energy_counts_every_spike_that_the_exported_file_fires(ann, tmp_path):
    model = nd.deploy(nd.spiking(ann, SAMPLES, steps=4, reset="soft", precharge=True), SAMPLES)
    report = nd.energy(model, SAMPLES)
    fired = nd.energy(nd.export(model, "onnx", tmp_path / "onnx", quantize="exact", samples=40))
    assert report.total.spikes > 0
    assert fired.total.spikes == pytest.approx(report.total.spikes, rel=0.05)  # weights on the grid, and not
