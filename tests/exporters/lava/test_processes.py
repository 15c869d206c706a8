import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import ConvLayer, CubaNeuron, DenseLayer, InputLayer
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.processes import build, convolution_matrix


def circuit_of(case):
    """A recorded chain, and its skips, as a circuit."""
    network = read(case.network)
    shape = network.input_shape or case.inputs.shape[2:]
    populations, synapses = [], []
    for block in network.blocks():
        layer, index = block.layer, block.index
        match layer:
            case ConvLayer():
                geometry = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
                connection = Convolution(weight=layer.weight, groups=layer.groups, **geometry)
            case DenseLayer():
                connection = Matrix(weight=layer.weight, delay=layer.delays())
        if not isinstance(layer, InputLayer):
            synapses.append(Synapse(source=index - 1, target=index, connection=connection))
        populations.append(
            Population(
                key=block.key,
                shape=layer.shape,
                neuron=block.neuron,
                bias=case.inputs[0] if isinstance(layer, InputLayer) else layer.bias,
                recurrent=getattr(layer, "weight_rec", None),
            )
        )
    for skip in case.settings["skips"]:
        connection = Convolution(
            weight=np.array(skip["weight"]), stride=tuple(skip["stride"]), padding=tuple(skip["padding"])
        )
        ends = {"source": skip["from_layer"], "target": skip["to_layer"]}
        synapses.append(Synapse(**ends, connection=connection, delay=skip["delay"]))
    return Circuit(input_shape=shape, populations=tuple(populations), synapses=tuple(synapses))


def spikes_in_lava(circuit, inputs, steps, **options):
    """Key → `[T, *shape]`, by the fixed-point models of Lava's CPU simulation; `inputs` are `[T, 1, *shape]`."""
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.sink import RingBuffer as Sink
    from lava.proc.io.source import RingBuffer as Source

    processes = build(circuit, **options)
    sinks = {}
    for population in circuit.populations:
        sinks[population.key] = Sink(shape=population.shape[::-1], buffer=steps)
        processes.populations[population.key].s_out.connect(sinks[population.key].a_in)
    if processes.inputs:
        padded = np.zeros((steps, *circuit.input_shape), np.int32)
        padded[: len(inputs)] = inputs[:steps, 0]
        processes.feed(Source(data=np.ascontiguousarray(padded.transpose())).s_out)
    first = processes.populations[circuit.populations[0].key]
    first.run(RunSteps(num_steps=steps), Loihi2SimCfg(select_tag="fixed_pt"))
    found = {key: sink.data.get().transpose() for key, sink in sinks.items()}
    first.stop()
    return found


@pytest.mark.parametrize(
    "name", ["g03", "g04", "g05", "g06", "g07", "g08", "g09", "g10a", "g10b"], ids=lambda name: f"{name} in Lava itself"
)
def test_lava_runs_the_processes_with_the_recorded_spikes(recorded, name):
    pytest.importorskip("lava", reason="lava-nc is not installed")
    case = recorded(name)
    options = {key: case.settings[key] for key in ("reset_interval", "input_message_bits")}
    circuit = circuit_of(case)
    # a block's number in a chain is its depth, less one where the chain is driven directly
    options["reset_offset"] = case.settings["reset_offset"] - circuit.depths[0]
    found = spikes_in_lava(circuit, case.inputs, case.settings["steps"], **options)
    assert found.keys() == {key.removesuffix("_s") for key in case.expected if key.endswith("_s")}
    for key, spikes in found.items():
        assert np.array_equal(spikes, case.expected[f"{key}_s"][:, 0]), key
