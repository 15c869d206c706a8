"""Cores of Loihi 2: those that Intel's compiler printed for networks whose files are public, and the margin beside them."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from neurodeploy.cli.main import app
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants, DenseLayer
from neurodeploy_exporters.lava.mapping import Mapping, load, map_circuit
from neurodeploy_exporters.lava.mapping.chip import Limit
from neurodeploy_exporters.lava.mapping.compiler import slices, weight_bits
from neurodeploy_exporters.lava.mapping.result import as_json, summary
from neurodeploy_exporters.lava.mapping.usage import Demand
from neurodeploy_exporters.lava.netfile import write
from neurodeploy_exporters.lava.network import Network

LOIHI2 = load("loihi2")
NEURON = CubaConstants(4096, 1024, 64)


def matrix(outputs: int, inputs: int, low: int, high: int) -> Matrix:
    """Even weights of a range, its ends among them."""
    weight = np.random.default_rng(0).integers(low // 2, high // 2 + 1, (outputs, inputs)) * 2
    weight.flat[0], weight.flat[-1] = low, high
    if weight.size > 2:
        weight.flat[1] = 2
    return Matrix(weight=weight)


def chain(input_shape: tuple[int, ...], *connections: Matrix | Convolution, input_neurons: bool = False) -> Circuit:
    shape, populations, synapses = input_shape, list[Population](), list[Synapse]()
    if input_neurons:
        populations.append(Population(key="in", shape=shape, neuron=NEURON))
    for number, connection in enumerate(connections):
        shape = connection.output_shape(shape)
        source = len(populations) - 1 if populations else INPUT
        populations.append(Population(key=f"L{number}", shape=shape, neuron=NEURON))
        synapses.append(Synapse(source=source, target=len(populations) - 1, connection=connection))
    return Circuit(input_shape=input_shape, populations=tuple(populations), synapses=tuple(synapses))


def conv(
    outputs: int, inputs: int, low: int, high: int, stride: tuple[int, int], padding: tuple[int, int] = (0, 0)
) -> Convolution:
    weight = matrix(outputs, inputs * 9, low, high).weight.reshape(outputs, inputs, 3, 3)
    return Convolution(weight=weight, stride=stride, padding=padding)


def cores(mapping: Mapping) -> list[int]:
    return [len(population.cores) for population in mapping.placed]


PILOTNET = chain(
    (3, 66, 200),
    conv(24, 3, -20, 18, (2, 2)),
    conv(36, 24, -12, 10, (2, 2)),
    conv(48, 36, -10, 8, (2, 2)),
    conv(64, 48, -8, 8, (2, 1), (1, 0)),
    conv(64, 64, -8, 8, (1, 1)),
    matrix(100, 2560, -6, 6),
    matrix(50, 100, -14, 10),
    matrix(10, 50, -24, 20),
    matrix(1, 10, -24, 42),
    input_neurons=True,
)
"""Shapes and ranges of weights of lava-dl's tutorials/lava/lib/dl/netx/pilotnet_snn/network.net; likewise those below."""
MNIST = chain((784,), matrix(128, 784, -98, 130), matrix(64, 128, -166, 254), matrix(10, 64, -88, 254))
OXFORD = chain((200,), matrix(256, 200, -178, 192), matrix(200, 256, -98, 124))


def test_pilotnet_takes_as_many_cores_as_intels_compiler_printed():
    mapping = map_circuit(PILOTNET, LOIHI2)
    assert cores(mapping) == [13, 25, 13, 3, 3, 2, 12, 1, 1, 1]
    assert mapping.cores == 74
    # the sizes of its slices: 16 columns of the input, then 4, 4, 8, 8 and 16
    assert [population.block[-1] for population in mapping.placed[:6]] == [16, 4, 4, 8, 8, 16]


def test_mnist_takes_as_many_cores_as_intels_compiler_printed():
    assert cores(map_circuit(MNIST, LOIHI2)) == [3, 1, 1]


def test_the_one_number_that_is_not_met_is_within_the_margin():
    """The compiler took 3 cores for Oxford's first layer, 5 for both."""
    mapping = map_circuit(OXFORD, LOIHI2)
    assert cores(mapping) == [2, 2]
    assert mapping.cores_at_most == 5
    assert LOIHI2.fitted is not None
    assert LOIHI2.fitted.margin == pytest.approx(5 / 4 - 1)


@pytest.mark.parametrize(
    ("circuit", "number", "neurons", "words"),
    [
        (PILOTNET, 6, 100, 61440),
        (PILOTNET, 6, 17, 12800),
        (PILOTNET, 7, 50, 1300),
        (PILOTNET, 8, 10, 150),
        (PILOTNET, 9, 1, 10),
        (OXFORD, 0, 256, 16200),
        (OXFORD, 1, 200, 16128),
        (OXFORD, 0, 85, 5400),
    ],
)
def test_synapse_memory_is_that_which_the_compiler_printed(circuit, number, neurons, words):
    demand = Demand(circuit, number, LOIHI2)
    use = demand.use(((0, neurons),), np.ones(circuit.populations[number].shape, np.int64))
    assert use.synapse_bits == 64 * words


@pytest.mark.parametrize(("cores_there", "verdict"), [(4, "may fit"), (5, "fits"), (3, "does not fit")])
def test_inside_the_margin_a_network_may_fit_and_only_outside_it_fits(cores_there, verdict):
    chip = replace(LOIHI2, cores=Limit(cores_there, "a test's"))
    mapping = map_circuit(OXFORD, chip, chips=1)
    assert mapping.verdict == verdict
    assert mapping.fits == (verdict == "fits")
    text = "\n".join(summary(mapping))
    assert ("may fit: 4 to 5 of the 4 cores of 1 chip" in text) == (verdict == "may fit")
    assert "margin: up to 5 cores, 25 % more, as Intel's compiler took for Oxford (5 cores, 4 computed)" in text
    assert f'"verdict": "{verdict}"' in as_json(mapping, "x")


def test_a_network_that_may_fit_is_no_failure_on_the_command_line(tmp_path, monkeypatch):
    weight = matrix(4, 8, -8, 8).weight
    write(Network((DenseLayer(shape=(4,), weight=weight, neuron=NEURON),)), tmp_path / "a.net")
    chip = replace(LOIHI2, cores=Limit(1, "a test's"))
    monkeypatch.setattr("neurodeploy_exporters.lava.mapping.load", lambda _: chip)
    result = CliRunner().invoke(app, ["map", str(tmp_path / "a.net"), "--chip", "loihi2", "--chips", "1"])
    assert result.exit_code == 0
    assert "may fit: 1 to 2 of the 1 cores of 1 chip" in result.output


@given(values=st.lists(st.integers(-128, 127), min_size=1, max_size=8), shift=st.integers(0, 1))
def test_weights_take_the_bits_that_hold_them_and_no_common_zeros(values, shift):
    whole = np.array(values).reshape(1, -1) << shift
    bits = weight_bits(whole)
    assert bits in (1, 2, 3, 4, 5, 6, 8)
    common = int(np.bitwise_or.reduce(np.abs(whole), axis=None))
    packed = whole // max(1, common & -common)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if whole.min() < 0 else (0, (1 << bits) - 1)
    assert packed.min() >= low
    assert packed.max() <= high


@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70)))
def test_slices_are_columns_of_a_power_of_two_with_fewer_neurons_than_a_core_has(shape):
    found = list(slices(shape, 4095))
    for one in found:
        assert one[:2] == shape[:2]
        assert one[2] == shape[2] or one[2] & (one[2] - 1) == 0
        assert prod(one) <= 4095
    assert bool(found) == (prod(shape[:2]) <= 4095)
