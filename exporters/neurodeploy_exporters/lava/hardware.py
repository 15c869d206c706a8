"""What a Loihi chip can hold but Lava's CPU simulation does not enforce.

Source: Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE Micro 2018; lava-dl `netx`.
"""

from typing import Any

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.connection import Integers
from neurodeploy_exporters.lava.layers import ConvLayer, CubaConstants, DenseLayer, FlattenLayer, InputLayer
from neurodeploy_exporters.lava.network import Network

WEIGHT_MIN, WEIGHT_MAX = -256, 254  # 8 bits and a sign, always even
BIAS_MIN, BIAS_MAX = -4096, 4095  # 13 bits
THRESHOLD_MAX = (1 << 17) - 1


def check_hardware(network: Network | Circuit) -> None:
    """Refuse what a chip would not compute as the simulation does, and what netx does not load as it is.

    Raises:
        UserError: naming the layer (or the population or synapse), the value found and the range.
    """
    if isinstance(network, Circuit):
        _check_circuit(network)
    else:
        _check_chain(network)


def _check_chain(network: Network) -> None:
    for position in range(network.blocks()[0].position):
        if isinstance(network.layers[position], FlattenLayer):
            where = f"/layer/{position}: flatten found before the first block"
            raise UserError(f"{where}, which netx drops; flatten the input on the host")
    for position, layer in enumerate(network.layers):
        where = f"/layer/{position}"
        if isinstance(layer, ConvLayer | DenseLayer):
            _check_weight(f"{where}/weight", layer.weight)
            if isinstance(layer, DenseLayer) and layer.weight_rec is not None:
                _check_weight(f"{where}/weight_rec", layer.weight_rec)
            _check_neurons(where, layer.bias, layer.neuron)
        elif isinstance(layer, InputLayer) and layer.neuron is not None:
            _check_neurons(where, None, layer.neuron)


def _check_circuit(circuit: Circuit) -> None:
    for index, population in enumerate(circuit.populations):
        if population.recurrent is not None:
            _check_weight(f"/population/{index}/recurrent", population.recurrent)
        _check_neurons(f"/population/{index}", population.bias, population.neuron)
    for number, synapse in enumerate(circuit.synapses):
        _check_weight(f"/synapse/{number}/weight", synapse.connection.weight)


def _check_neurons(where: str, bias: Integers | None, neuron: CubaConstants) -> None:
    if bias is not None:
        _check_range(f"{where}/bias", bias, BIAS_MIN, BIAS_MAX)
    _check_range(f"{where}/neuron/vThMant", neuron.threshold, 0, THRESHOLD_MAX)


def _check_weight(where: str, weight: Any) -> None:
    _check_range(where, weight, WEIGHT_MIN, WEIGHT_MAX)
    odd = weight[weight % 2 != 0]
    if odd.size:
        raise UserError(f"{where}: odd value {odd.flat[0]} found, even numbers expected (8 bits with a sign hold steps of 2)")


def _check_range(where: str, values: Any, low: int, high: int) -> None:
    array = np.asarray(values)
    wrong = array[(array < low) | (array > high)]
    if wrong.size:
        raise UserError(f"{where}: {wrong.flat[0]} found, {low} to {high} expected on Loihi")
