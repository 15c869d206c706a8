"""Where a network is cut into chip and host: the cheapest place, and the neurons that the chip needs there."""

import numpy as np
import pytest
import torch

from neurodeploy.app.accounting import deployed_energy, energy_report
from neurodeploy.app.cutting import cut_best, cuts_of, readout_neurons, weighed_for
from neurodeploy.app.model import of_bundle
from neurodeploy.graph import fold_batch_norm
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy_energy import account
from neurodeploy_energy.price.deployment import deployment
from neurodeploy_energy.price.profiles import load
from neurodeploy_exporters import lava, onnx
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.target import Subject, find

HOST = "cmos45-fp32+lemaire"


@pytest.fixture(params=["conv", "resnet1d"])
def network(small_named, spiking, request):
    """A chain, and a network that branches, with RepAct; samples of which exact sums can be taken."""

    def make(*, repact=True):
        if request.param == "resnet1d" and not repact:
            pytest.skip("max pooling stands before its last synapse, which no chip computes")
        small = small_named(request.param)
        built = small.build(spiking(3, repact=repact, decay=0.5), trained=True).eval()
        graph = fold_batch_norm(trace(built, small.shape))
        return graph, torch.round(small.samples(3) * 256) / 256

    return make


@pytest.mark.parametrize("repact", [False, True], ids=["spikes", "repact"])
def test_read_out_neurons_are_counted_as_the_manifest_of_the_bundle_counts_them(network, tmp_path, repact):
    graph, x = network(repact=repact)
    folder = lava.export(graph, x.numpy(), tmp_path / "b", name="n", quantize="exact", head_cut="last-synapse")
    cost = read_bundle(folder).manifest.head_cut.last_synapse
    target, module = find("lava"), GraphModule(to_grid(graph))
    places = cuts_of(target, module.graph, target.options({"head_cut": "last-synapse"}))["last-synapse"]
    found = readout_neurons(module, places, lambda: x.split(2))
    assert found.updates_active + found.updates_idle == cost.neuron_updates
    assert found.updates_active == pytest.approx(cost.neuron_updates_active)
    assert found.graded_values == cost.graded_values
    own = of_bundle(folder)
    assert readout_neurons(own.module, own.places, lambda: [x]) == pytest.approx(found)


def test_a_network_that_ends_with_its_spikes_has_no_read_out_neurons(network):
    graph, x = network()
    target = find("lava")
    places = cuts_of(target, graph, target.options({"head_cut": "last-spike"}))["last-spike"]
    assert readout_neurons(GraphModule(graph), places, lambda: [x]) is None


def test_the_cheapest_cut_is_taken_and_what_both_cost_is_said(network):
    graph, x = network()
    target, chip, host = find("lava"), load("loihi1"), load(HOST)
    subject = Subject(graph=graph, sample_inputs=x.numpy(), name="n")
    found = weighed_for(target, target.options({}), subject, chip, host)
    energies = {name: one.total_uj for name, one in found.weighed.energies.items()}
    assert set(energies) == {"last-spike", "last-synapse"}
    assert found.options.head_cut == min(energies, key=energies.get)
    assert all(f"{name} {uj:,.4g} µJ" in found.subject.cut for name, uj in energies.items())
    report = account(GraphModule(graph), [x], profiles=["loihi1"], host=HOST)
    cut, why = cut_best(report, GraphModule(graph), lambda: [x], cuts_of(target, graph, target.options({})))
    assert (cut.cut, why) == (found.options.head_cut, found.subject.cut)
    assert cut.energy("loihi1").total_uj == pytest.approx(min(energies.values()))
    asked = weighed_for(target, target.options({"head_cut": "last-spike"}), subject, chip, host)
    assert (asked.options.head_cut, asked.subject.cut) == ("last-spike", "")
    assert weighed_for(find("onnx"), find("onnx").options({}), subject, chip, host).weighed is None


@pytest.mark.parametrize("head_cut", ["last-spike", "last-synapse"])
def test_the_energy_of_a_bundle_is_that_of_its_files_as_they_are_cut(network, tmp_path, head_cut):
    graph, x = network()
    folder = lava.export(graph, x.numpy(), tmp_path / "b", name="n", quantize="exact", head_cut=head_cut)
    found = deployed_energy(folder)
    report = energy_report(of_bundle(folder), x, ["loihi1"], host=HOST)
    assert (report.cut, report.host_alone) == (head_cut, False)
    assert found == deployment(report, load("loihi1"), load(HOST))
    assert found.total_uj == pytest.approx(found.chip_uj + found.host_uj)
    assert (found.graded_values > 0) == (head_cut == "last-synapse")


def test_a_bundle_for_a_processor_is_all_on_the_host(network, tmp_path):
    graph, x = network()
    folder = onnx.export(graph, x.numpy(), tmp_path / "b", name="n", quantize="exact")
    found = deployed_energy(folder, x[:2])
    assert (found.chip_uj, found.encoder_uj) == (0, 0)
    assert found.total_uj == pytest.approx(found.head_uj)
    with pytest.raises(UserError, match="profile loihi1: a host computes densely"):
        deployed_energy(folder, host="loihi1")
    assert np.isfinite(found.head_macs)
