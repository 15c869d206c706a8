"""A body in SANA-FE fires there what it fires here, and what it takes is told per sample."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from checks.sanafe.bodies import BODIES, residual, spikes
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.mapping import load
from neurodeploy_exporters.lava.pipeline import run_sequence
from neurodeploy_exporters.lava.sanafe import bodies, simulate_body
from neurodeploy_exporters.lava.sanafe.program import VERSION
from neurodeploy_exporters.simulation import Simulator


def simulated(program, body="residual", **options):
    make, entering = BODIES[body]
    return simulate_body(make(), entering, Simulator("sana-fe", program), origin=body, **options)


@pytest.mark.parametrize("body", BODIES)
def test_the_stand_in_fires_what_the_fixed_point_simulator_fires(stand_in, body):
    found = simulated(stand_in(), body)
    assert [layer.differing for layer in found.layers] == [0] * len(found.layers)
    assert all(layer.ours == layer.simulated > 0 for layer in found.layers)
    assert (found.stream is None) == (body == "recurrent")


@pytest.mark.parametrize("body", BODIES)
def test_sana_fe_fired_the_same_when_it_was_recorded(recorded, body):
    found = simulated(recorded(body), body)
    assert sum(layer.differing for layer in found.layers) == 0
    assert sum(layer.simulated for layer in found.layers) > 20


@pytest.mark.parametrize("body", BODIES)
def test_sana_fe_as_it_is_installed_answers_what_was_recorded(real, recorded, body):
    """But for times: the order of a neuron's messages follows from addresses in memory, and differs from run to run."""
    found, kept = simulated(real, body), simulated(recorded(body), body)
    for ours, theirs in ((found.alone, kept.alone), (found.stream, kept.stream)):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert asdict(ours) == pytest.approx(asdict(theirs), rel=0.05)
            timeless = {"time_us": 0.0, "longest_us": 0.0}
            assert asdict(replace(ours, **timeless)) == pytest.approx(asdict(replace(theirs, **timeless)))
    assert replace(found, alone=kept.alone, stream=kept.stream) == kept


def test_a_stream_has_the_spikes_of_the_report(recorded):
    make, entering = BODIES["residual"]
    expected = run_sequence(make(), entering).spikes
    assert {layer.layer: layer.simulated for layer in simulated(recorded("residual")).layers} == {
        key: int(fired.sum()) for key, fired in expected.items()
    }


def test_energies_are_those_of_sana_fes_constants(recorded):
    """pJ: of convolutions 24.0 a synapse, of dense ones 35.5; a neuron 51.2, if active 21.6 more, a spike 69.3; a message 111,
    a hop east or west 3.0, north or south 4.2."""
    found, neurons = simulated(recorded("residual")), 3 * 16 + 3 * 16 + 5
    assert found.stream is not None
    fired = {layer.layer: layer.simulated / found.samples for layer in found.layers}
    accesses = neurons * found.steps
    soma = 51.2 * accesses + 21.6 * found.stream.updates + 69.3 * sum(fired.values())
    assert found.stream.neuron_uj == pytest.approx(1e-6 * soma)
    dense = 5 * fired["second"]
    assert found.stream.synapse_uj == pytest.approx(1e-6 * (35.5 * dense + 24.0 * (found.stream.synaptic_events - dense)))
    moving = 1e6 * found.stream.network_uj - 111 * found.stream.messages
    assert 3.0 * found.stream.hops <= moving + 1e-6 <= 4.2 * found.stream.hops + 1e-3
    assert found.stream.total_uj == pytest.approx(found.stream.synapse_uj + found.stream.neuron_uj + found.stream.network_uj)


def test_a_neuron_sends_one_message_to_every_core_and_a_sample_alone_takes_longer(stand_in):
    found = simulated(stand_in())
    entering = BODIES["residual"][1].sum() / 2
    # the first convolution and the way around it are in two cores
    assert found.alone.input_messages == found.stream.input_messages == 2 * entering
    assert (found.stream.steps, found.alone.steps) == (4, 4 + 3)
    assert (found.stream.time_us, found.alone.time_us) == pytest.approx((4, 7))
    assert (found.cores, found.input_cores, found.tiles, found.chips) == (3, 1, 1, 1)


def test_samples_do_not_see_each_other(stand_in):
    make, entering = BODIES["residual"]
    simulator = Simulator("sana-fe", stand_in())
    both = simulate_body(make(), entering, simulator, origin="both").alone
    each = [simulate_body(make(), entering[:, i : i + 1], simulator, origin="one").alone for i in range(2)]
    assert both.synaptic_events == sum(one.synaptic_events for one in each) / 2
    assert both.total_uj == pytest.approx(sum(one.total_uj for one in each) / 2)


def test_a_spike_too_many_is_counted_and_gets_its_synapses(stand_in):
    found = simulated(stand_in("late"))
    assert all(layer.differing for layer in found.layers)
    assert found.layers[0].simulated > found.layers[0].ours


def test_layers_have_the_names_that_are_given(stand_in):
    found = simulated(stand_in(), names={"first": "block.act1", "second": "block.act2"})
    assert [layer.layer for layer in found.layers] == ["block.act1", "block.act2"]


def test_more_neurons_than_a_chip_has_make_a_larger_mesh(stand_in, monkeypatch):
    chip = load("loihi1")
    monkeypatch.setattr(bodies, "load", lambda _: replace(chip, cores=replace(chip.cores, value=16)))
    wide = Population(key="wide", shape=(16 * 1024,), neuron=CubaConstants(4096, 0, 5))
    weight = np.zeros((16 * 1024, 2), np.int64)
    weight[::512] = 6
    circuit = Circuit(
        input_shape=(2,), populations=(wide,), synapses=(Synapse(source=INPUT, target=0, connection=Matrix(weight=weight)),)
    )
    found = simulate_body(circuit, np.ones((1, 1, 2), np.uint8), Simulator("sana-fe", stand_in()), origin="wide")
    assert (found.cores, found.input_cores, found.tiles, found.chips) == (16, 1, 5, 2)
    assert "2 chips are one mesh of 2 by 4 tiles" in " ".join(found.assumptions)
    assert (found.layers[0].ours, found.layers[0].differing) == (32, 0)


def test_what_needs_more_memory_than_there_is_is_refused_before_the_work(stand_in, monkeypatch):
    monkeypatch.setattr(bodies, "available_bytes", lambda: 1 << 20)
    monkeypatch.setattr(bodies, "run_job", lambda *_: pytest.fail("ran"))
    with pytest.raises(
        UserError, match=r"residual: SANA-FE would need some 0\.0 GiB for [\d,]+ synapses, and 0\.0 GiB are free"
    ):
        simulated(stand_in())


def test_what_does_not_fit_on_the_chip_is_refused_by_the_layer(stand_in):
    population = Population(key="greedy", shape=(2,), neuron=CubaConstants(4096, 0, 5))
    synapse = Synapse(source=INPUT, target=0, connection=Matrix(weight=np.full((2, 5000), 2)))
    circuit = Circuit(input_shape=(5000,), populations=(population,), synapses=(synapse,))
    with pytest.raises(UserError, match=r"net: does not fit on Intel Loihi 1.*greedy: one neuron takes 5,000 input axons"):
        simulate_body(circuit, np.ones((1, 1, 5000)), Simulator("sana-fe", stand_in()), origin="net")


def test_spikes_are_0_or_1(stand_in):
    with pytest.raises(UserError, match="net: spikes: values other than 0 and 1"):
        simulate_body(residual(), 2 * spikes(2, 1, 2, 4, 4), Simulator("sana-fe", stand_in()), origin="net")


def test_input_neurons_are_refused(stand_in):
    circuit = residual()
    first = Population(key="input", shape=(2, 4, 4), neuron=CubaConstants(4096, 0, 5))
    shifted = tuple(replace(one, source=max(one.source + 1, 0), target=one.target + 1) for one in circuit.synapses)
    begun = Circuit(input_shape=(2, 4, 4), populations=(first, *circuit.populations), synapses=shifted)
    with pytest.raises(UserError, match="net: it begins with input neurons"):
        simulate_body(begun, spikes(2, 1, 2, 4, 4), Simulator("sana-fe", stand_in()), origin="net")


def test_another_simulator_is_refused_by_name(stand_in):
    with pytest.raises(UserError, match="'nemo' found; for Loihi there is: sana-fe"):
        simulate_body(residual(), spikes(2, 1, 2, 4, 4), Simulator("nemo", stand_in()), origin="net")


def test_the_recordings_are_of_the_version_that_is_named():

    for body in BODIES:
        recording = Path(__file__).parents[3] / "files" / "sanafe" / body / "result.json"
        assert json.loads(recording.read_text("utf-8"))["versions"]["sanafe"] == VERSION
