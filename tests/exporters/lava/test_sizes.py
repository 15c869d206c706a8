"""A small file cannot claim a network that takes more memory or time than the largest systems of Loihi chips would need."""

from typing import Any

import h5py
import numpy as np
import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import (
    MAX_NEURONS,
    MAX_SYNAPSES,
    MAX_UNFOLDED,
    ConvLayer,
    CubaConstants,
    DenseLayer,
    InputLayer,
)
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network

NEURON = CubaConstants(4096, 1024, 60)


def ones(*shape: int) -> Any:
    """Weights of 2 that take no memory."""
    return np.broadcast_to(np.int64(2), shape)


def conv(shape: tuple[int, int, int], *weight: int) -> ConvLayer:
    return ConvLayer(shape=shape, weight=ones(shape[0], *weight), neuron=NEURON)


def test_the_limits_are_those_of_the_sources():
    assert MAX_NEURONS == 8 * 1_048_576
    assert MAX_SYNAPSES == 128_000_000_000
    assert MAX_UNFOLDED * 8 == 2**30


def test_a_network_may_have_as_many_neurons_as_a_board_and_not_one_more():
    at_limit = conv((8, 1024, 1024), 1, 1, 1)
    Network((InputLayer(shape=(1, 1024, 1024)), at_limit))
    one_more = DenseLayer(shape=(1,), weight=ones(1, 1), neuron=NEURON)
    with pytest.raises(UserError, match="9437184 neurons found, at most 8388608 expected, as many as 8 Loihi 2 chips have"):
        Network((InputLayer(shape=(1, 1024, 1024)), at_limit, conv((1, 1024, 1024), 8, 1, 1)))
    circuit = Circuit(
        input_shape=(1,),
        populations=(Population(key="a", shape=(MAX_NEURONS,), neuron=NEURON),),
        synapses=(Synapse(source=INPUT, target=0, connection=Matrix(weight=ones(MAX_NEURONS, 1))),),
    )
    more = Population(key="b", shape=one_more.shape, neuron=NEURON)
    into = Synapse(source=INPUT, target=1, connection=Matrix(weight=one_more.weight))
    with pytest.raises(UserError, match="8388609 neurons found"):
        Circuit(input_shape=(1,), populations=(*circuit.populations, more), synapses=(*circuit.synapses, into))


def test_a_network_may_not_have_more_synapses_than_the_largest_system():
    shape, wide = (32, 500, 500), Convolution(weight=ones(32, 32, 4, 4))  # 4.1 billion

    def circuit(count: int) -> Circuit:
        return Circuit(
            input_shape=(32, 503, 503),
            populations=(Population(key="a", shape=shape, neuron=NEURON),),
            synapses=tuple(Synapse(source=INPUT, target=0, connection=wide, delay=delay) for delay in range(count)),
        )

    circuit(31)
    with pytest.raises(UserError, match="131072000000 synapses found, at most 128000000000 expected"):
        circuit(32)


def test_a_convolution_may_not_need_a_gigabyte_of_copies():
    Network((InputLayer(shape=(1, 2559, 128)), conv((1, 512, 128), 1, 2048, 1)))
    with pytest.raises(UserError, match=r"2048 weights per channel of a convolution, at 65664 places, found; .* 134217728"):
        Network((InputLayer(shape=(1, 2560, 128)), conv((1, 513, 128), 1, 2048, 1)))


@pytest.mark.parametrize(
    ("entry", "shape", "padding", "stride", "message"),
    [
        ([1, 1 << 15, 1 << 16], [1, 1 << 15, 1 << 16], 0, 1, r"/layer/0/shape: \[1, 32768, 65536\] found, .* 8388608 neurons"),
        ([1, 2, 2], [1, 131074, 131074], 65536, 1, r"/layer/1/shape: \[1, 131074, 131074\] found, .* 8388608 neurons"),
        ([1, 2, 2], [1, 131074, 63], 65536, 1, r"/layer/1/shape: \(1, 131074, 63\) found, but its input"),
        ([1, 2, 2], [1, 1, 1], 65537, 1, r"/layer/1/padding: \(65537, 65537\) found, .* from 0 to 65536"),
        ([1, 2, 2], [1, 1, 1], 0, 65537, r"/layer/1/stride: \(65537, 65537\) found, .* from 1 to 65536"),
    ],
)
def test_a_file_of_a_few_kilobytes_cannot_claim_gigabytes(tmp_path, entry, shape, padding, stride, message):
    path = tmp_path / "a.net"
    write(Network((InputLayer(shape=(1, 2, 2)), conv((1, 2, 2), 1, 1, 1))), path)
    with h5py.File(path, "r+") as file:
        for key, value in {"0/shape": entry, "1/shape": shape, "1/padding": padding, "1/stride": stride}.items():
            del file[f"layer/{key}"]
            file[f"layer/{key}"] = value
    assert path.stat().st_size < 20_000
    with pytest.raises(UserError, match=message):
        read(path)
