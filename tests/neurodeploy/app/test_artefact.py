"""A bundle counted: line by line what the deployed network gives where it is exact, and its own spikes where it is not."""

import sys
from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
import torch

from neurodeploy.app.model import ArtefactModule, inputs_for, of_bundle
from neurodeploy.graph import fold_batch_norm
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account
from neurodeploy_exporters import lava, nir, onnx
from neurodeploy_exporters.verify.artefact import read_artefact

NEURON = ("neurons", "steps", "spikes", "updates_active", "updates_idle")
SYNAPSE = ("sops", "macs")


def deployed(small, spiking, *, events=False, repact=False):
    """The graph of a small network with LIF neurons, and samples that exact sums can be taken of."""
    activations = spiking(3, "events" if events else "direct", repact=repact, decay=0.5)
    network = small.build(activations, trained=not events).eval()
    graph = fold_batch_norm(trace(network, small.shape, timed=events))
    return graph, small.samples(3, steps=3) if events else torch.round(small.samples(3) * 256) / 256


def entering(samples, graph):
    return (samples.transpose(0, 1).contiguous() if graph.input.timed else samples).numpy()


def counted(module, samples):
    return {row.name: asdict(row) for row in account(module, samples.split(2), fold=False).layers}


def exported(export, graph, samples, folder, **options):
    """An exact bundle; skips the test where the target refuses such a network."""
    try:
        return export(graph, entering(samples, graph), folder, name="n", quantize="exact", **options)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("events", [False, True], ids=["images", "events"])
@pytest.mark.parametrize("repact", [False, True], ids=["spikes", "repact"])
def test_an_exact_onnx_bundle_counts_what_the_deployed_network_counts_in_every_line(small, spiking, tmp_path, events, repact):
    graph, samples = deployed(small, spiking, events=events, repact=repact)
    model = of_bundle(exported(onnx.export, graph, samples, tmp_path / "b"))
    assert torch.equal(model.test_samples, samples)
    ours, theirs = (counted(module, samples) for module in (model.module, GraphModule(to_grid(graph), batch_first=events)))
    assert ours == theirs
    assert sum(row["spikes"] for row in ours.values()) > 0


@pytest.mark.parametrize("events", [False, True], ids=["images", "events"])
@pytest.mark.parametrize("head_cut", ["last-spike", "last-synapse"])
def test_an_exact_lava_bundle_counts_what_the_deployed_network_counts(small, spiking, tmp_path, events, head_cut):
    graph, samples = deployed(small, spiking, events=events)
    model = of_bundle(exported(lava.export, graph, samples, tmp_path / "b", head_cut=head_cut))
    ours, theirs = (counted(module, samples) for module in (model.module, GraphModule(to_grid(graph), batch_first=events)))
    for name, row in theirs.items():
        if row["kind"] == "neuron":
            assert {count: ours[name][count] for count in NEURON} == {count: row[count] for count in NEURON}, name
        elif row["kind"] == "synapse":
            # one that reads a sum of spikes is on the chip one for each of them
            found = [one for other, one in ours.items() if other == name or other.endswith(f">{name}")]
            for count in SYNAPSE:
                total = sum(round(one[count] * len(samples)) for one in found)
                assert total == round(row[count] * len(samples)), (name, count)
    assert sum(ours[name]["spikes"] for name, place in model.places.items() if place == "body" and name in ours) > 0


def test_an_exact_nir_bundle_counts_what_the_deployed_network_counts(small_named, spiking, tmp_path):
    for repact, events in product((False, True), repeat=2):  # with RepAct the network is in pieces
        graph, samples = deployed(small_named("resnet"), spiking, events=events, repact=repact)
        model = of_bundle(exported(nir.export, graph, samples, tmp_path / f"{repact}{events}"))
        assert ("body.nir" in model.statements[0]) is repact
        assert counted(model.module, samples) == counted(GraphModule(to_grid(graph), batch_first=events), samples)


def test_what_is_counted_is_the_artefact_s_spikes_not_those_of_the_weights_in_its_graph(small_named, spiking, tmp_path):
    graph, samples = deployed(small_named("vgg plain"), spiking)
    x = entering(samples, graph)
    folder = onnx.export(graph, x, tmp_path / "b", name="n", quantize="int8", calibration=x)
    artefact = read_artefact(folder)
    fired = artefact.fire(x)
    module, torch_module = ArtefactModule(artefact), GraphModule(artefact.graph)
    ours, theirs = counted(module, samples), counted(torch_module, samples)
    assert {name: ours[name]["spikes"] for name in fired} == {name: int(s.sum()) / 3 for name, s in fired.items()}
    assert any(ours[name]["spikes"] != theirs[name]["spikes"] for name in fired)


def test_the_answers_follow_from_the_artefact_s_spikes(small_named, spiking, tmp_path):
    graph, samples = deployed(small_named("conv"), spiking)
    folder = lava.export(graph, entering(samples, graph), tmp_path / "b", name="n", quantize="exact")
    artefact = read_artefact(folder)
    with torch.no_grad():
        logits = ArtefactModule(artefact)(samples)
    np.testing.assert_allclose(logits.numpy(), artefact.bundle.sample().logits, atol=1e-4)


def test_samples_run_in_batches_whose_spikes_fit_into_memory(small_named, spiking, tmp_path, monkeypatch):
    graph, samples = deployed(small_named("conv"), spiking)
    folder = onnx.export(graph, entering(samples, graph), tmp_path / "b", name="n")
    assert of_bundle(folder).batch == 250
    neurons = sum(int(np.prod(graph.shape(name))) for name in graph.spiking)
    monkeypatch.setattr("neurodeploy.app.model._VALUES", 3 * neurons * 2 + 1)
    assert of_bundle(folder).batch == 2


def test_samples_of_another_shape_are_refused(small_named, spiking, tmp_path):
    for events in (False, True):
        graph, samples = deployed(small_named("conv"), spiking, events=events)
        folder = onnx.export(graph, entering(samples, graph), tmp_path / f"{events}", name="n")
        wanted = "N, T, 1, 8, 8" if events else "N, 1, 8, 8"
        with pytest.raises(UserError, match=rf"samples of shape \(3, 64\) found, \[{wanted}\] expected by the bundle$"):
            of_bundle(folder).module(torch.zeros(3, 64))
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 8, 8)))
    with pytest.raises(
        UserError, match=r"x.npy: samples of shape \(3, 8, 8\) found, \(1, 8, 8\) expected by n \(onnx bundle\)"
    ):
        inputs_for(of_bundle(tmp_path / "False"), tmp_path / "x.npy")


def test_without_onnx_runtime_the_bundle_says_what_to_install(small_named, spiking, tmp_path, monkeypatch):
    graph, samples = deployed(small_named("conv"), spiking)
    model = of_bundle(onnx.export(graph, entering(samples, graph), tmp_path / "b", name="n"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="ONNX Runtime"):
        account(model.module, [samples])


def test_a_folder_that_is_no_bundle_is_told_apart(tmp_path):
    with pytest.raises(UserError, match=r"no manifest.json found, so this is no bundle; make one with `neurodeploy export`$"):
        of_bundle(tmp_path)
