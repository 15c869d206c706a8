"""Circuits: what contradicts itself cannot be made; a chain with skips is one."""

from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.network import Network, Skip

NEURON = CubaConstants(4096, 1024, 100)
CONV = Convolution(weight=np.full((2, 2, 1, 1), 2))
DENSE = Matrix(weight=np.full((3, 8), 2))
A = Population(key="a", shape=(2, 2, 2), neuron=NEURON)
B = Population(key="b", shape=(2, 2, 2), neuron=NEURON)
C = Population(key="c", shape=(3,), neuron=NEURON)
IN_A = Synapse(source=INPUT, target=0, connection=CONV)
A_B = Synapse(source=0, target=1, connection=CONV)
B_C = Synapse(source=1, target=2, connection=DENSE)


def circuit(populations=(A, B, C), synapses=(IN_A, A_B, B_C), input_shape=(2, 2, 2)) -> Circuit:
    return Circuit(input_shape=input_shape, populations=populations, synapses=synapses)


def test_depth_is_the_longest_way_from_the_input_and_delays_line_the_short_ways_up_with_it():
    short = Synapse(source=INPUT, target=2, connection=DENSE)
    found = circuit(synapses=(short, B_C, IN_A, A_B))
    assert found.depths == (1, 2, 3)
    assert [found.aligned_delay(synapse) for synapse in found.synapses] == [2, 0, 0, 0]
    assert not found.aligned
    assert circuit(synapses=(replace(short, delay=2), B_C, IN_A, A_B)).aligned
    slow = replace(B_C, connection=replace(DENSE, delay=np.eye(3, 8, dtype=np.int64)))
    assert not circuit(synapses=(IN_A, A_B, slow)).aligned


def test_input_neurons_have_no_depth():
    driven = circuit(synapses=(A_B, B_C))
    assert driven.has_input_neurons
    assert driven.depths == (0, 1, 2)
    assert driven.aligned
    assert not circuit().has_input_neurons


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: circuit(populations=(), synapses=()), "circuit: no population found"),
        (lambda: circuit(input_shape=(2, 2)), r"shape: \(2, 2\) found, \(N,\) or \(C, H, W\)"),
        (lambda: circuit(populations=(A, replace(B, key="a"), C)), "population 1: key: a found twice"),
        (lambda: circuit(synapses=(IN_A, A_B, B_C, replace(A_B, source=1, target=0))), "synapse 3: from 1 to 0 .* no feedback"),
        (lambda: circuit(synapses=(IN_A, A_B, B_C, replace(A_B, source=1))), "synapse 3: from 1 to 1 found"),
        (lambda: circuit(synapses=(IN_A, A_B, replace(B_C, target=3))), "synapse 2: from 1 to 3 found"),
        (lambda: circuit(synapses=(replace(IN_A, source=-2), A_B, B_C)), "synapse 0: from -2 to 0 found"),
        (lambda: circuit(synapses=(IN_A, replace(A_B, delay=63), B_C)), "synapse 1: delay: 63 found, 0 to 62"),
        (
            lambda: circuit(synapses=(IN_A, A_B, replace(B_C, delay=60, connection=replace(DENSE, delay=3)))),
            "synapse 2: delay, together with that of the matrix: 63 found, 0 to 62",
        ),
        (
            lambda: circuit(synapses=(IN_A, replace(A_B, connection=replace(CONV, stride=(2, 1))), B_C)),
            r"synapse 1: makes \(2, 1, 2\) of its source \(2, 2, 2\), but population 1 has shape \(2, 2, 2\)",
        ),
        (
            lambda: circuit(synapses=(IN_A, replace(A_B, connection=Convolution(weight=np.ones((2, 3, 1, 1), int))), B_C)),
            r"synapse 1: input of shape \(2, 2, 2\) found, \(3, H, W\)",
        ),
        (
            lambda: circuit(synapses=(IN_A, A_B, replace(B_C, connection=Matrix(weight=np.ones((3, 7), int))))),
            r"synapse 2: input of shape \(2, 2, 2\) found, 7 values expected",
        ),
        (lambda: circuit(synapses=(IN_A, A_B)), "population 2: no synapse found, at least one expected"),
        (lambda: circuit(synapses=(replace(IN_A, target=1), B_C)), "population 0: no synapse found"),
        (lambda: circuit(synapses=(A_B, B_C), input_shape=(8,)), r"population 0: input neurons of shape \(8,\), .* expected"),
        (
            lambda: circuit(populations=(replace(A, bias=np.zeros(2, int)), B, C), synapses=(A_B, B_C)),
            "population 0: input neurons of shape .* without bias",
        ),
        (lambda: replace(A, key="a/b"), "key: 'a/b' found"),
        (lambda: replace(A, key=""), "key: '' found"),
        (lambda: replace(A, key="ä"), "key: 'ä' found"),
        (lambda: replace(A, shape=(2, 2)), r"shape: \(2, 2\)"),
        (lambda: replace(A, bias=np.zeros(3, int)), r"bias: shape \(3,\) found, \(2,\) or \(2, 2, 2\)"),
        (lambda: replace(A, bias=np.full(2, 1 << 15)), "bias: 32768 found"),
        (lambda: replace(A, neuron=CubaConstants(np.zeros(3, int), 0, 1)), r"iDecay: shape \(3,\)"),
        (lambda: replace(A, recurrent=np.ones((2, 2), int)), r"recurrent: shape \(2, 2\) found on \(2, 2, 2\)"),
        (lambda: replace(C, recurrent=np.ones((2, 3), int)), r"recurrent: shape \(2, 3\)"),
        (lambda: replace(C, recurrent=np.full((3, 3), 256)), "recurrent: 256 found"),
        (lambda: Matrix(weight=np.ones((2, 3, 1), int)), r"weight: shape \(2, 3, 1\) found, \(N_out, N_in\)"),
        (lambda: Matrix(weight=np.full((2, 3), -257)), "weight: -257 found, -256 to 255"),
        (lambda: Matrix(weight=np.ones((2, 3), int), delay=63), "delay: 63 found"),
        (lambda: Matrix(weight=np.ones((2, 3), int), delay=np.zeros(3, int)), r"delay: shape \(3,\) found"),
        (lambda: Convolution(weight=np.ones((2, 3), int)), r"weight: shape \(2, 3\) found"),
    ],
)
def test_a_circuit_that_contradicts_itself_cannot_be_made(make, message):
    with pytest.raises(UserError, match=message):
        make()


CHAIN = Network(
    (
        InputLayer(shape=(2, 2, 2)),
        ConvLayer(shape=(2, 2, 2), weight=CONV.weight, bias=np.array([1, 2]), neuron=NEURON),
        FlattenLayer(),
        DenseLayer(shape=(3,), weight=DENSE.weight, delay=np.array([0, 1, 2]), neuron=NEURON),
        DenseLayer(shape=(3,), weight=np.eye(3, dtype=int), weight_rec=np.eye(3, dtype=int), neuron=NEURON),
    )
)
SKIP = {"from_layer": 0, "to_layer": 2, "weight": DENSE.weight.tolist(), "delay": 1}


def test_a_chain_becomes_a_circuit_with_one_population_for_each_block():
    found = CHAIN.circuit()
    assert [population.key for population in found.populations] == ["L0_Conv", "L1_Dense", "L2_RecurrentDense"]
    assert [(synapse.source, synapse.target) for synapse in found.synapses] == [(INPUT, 0), (0, 1), (1, 2)]
    delays = found.synapses[1].connection
    assert isinstance(delays, Matrix)
    np.testing.assert_array_equal(delays.delay, np.repeat([[0], [1], [2]], 8, 1))
    assert found.populations[2].recurrent is not None


def test_a_chain_with_input_neurons_keeps_them_and_a_skip_may_be_given_either_way():
    driven = Network((InputLayer(shape=(2, 2, 2), neuron=NEURON), *CHAIN.layers[1:]))
    as_mapping = driven.circuit([SKIP | {"to_layer": 3}]).synapses[-1]
    as_skip = driven.circuit([Skip(from_layer=0, to_layer=3, weight=DENSE.weight, delay=1)]).synapses[-1]
    for synapse in (as_mapping, as_skip):
        assert (synapse.source, synapse.target, synapse.delay) == (0, 3, 1)
        np.testing.assert_array_equal(synapse.connection.weight, DENSE.weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from_layer": 2, "to_layer": 0}, "skip 0: .* no feedback"),
        ({"to_layer": 3}, "skip 0: .* 0 to 2 expected"),
        ({"to_layer": 1.5}, "skip 0: to_layer: float64 found, whole numbers"),
        ({"to_layer": [1]}, r"skip 0: to_layer: shape \(1,\) found, one number"),
        ({"weight": [[1, 2], [3]]}, "skip 0: weight: object found"),
        ({"weight": [[1, 2], [3, 4]]}, "skip 0: .* 2 values expected"),
        ({"gain": 2}, "skip 0: gain found; from_layer, to_layer, weight, stride, .* expected"),
        ({"delay": 63}, "skip 0: .*delay: 63 found"),
        ({"weight": np.ones((3, 2, 2, 2), int), "stride": [1]}, r"skip 0: stride: \(1,\) found"),
    ],
)
def test_a_skip_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        CHAIN.circuit([SKIP | changes])


def test_a_skip_without_a_weight_is_refused():
    with pytest.raises(UserError, match="skip 0: weight missing"):
        CHAIN.circuit([{"from_layer": 0, "to_layer": 2}])


def test_the_shape_of_the_input_is_asked_for_where_the_file_does_not_tell_and_compared_where_it_does():
    untold = Network(CHAIN.layers[1:])
    with pytest.raises(UserError, match="does not tell its input's shape; give input_shape"):
        untold.circuit()
    assert untold.circuit(input_shape=(2, 2, 2)).input_shape == (2, 2, 2)
    with pytest.raises(UserError, match=r"/layer/0/shape: \(2, 2, 2\) found, but its input \(2, 3, 2\)"):
        untold.circuit(input_shape=(2, 3, 2))
    with pytest.raises(UserError, match=r"input_shape: \(2, 3, 2\) found, but the network says \(2, 2, 2\)"):
        CHAIN.circuit(input_shape=(2, 3, 2))
