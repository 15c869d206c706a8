import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.processes import build, convolution_matrix
from neurodeploy_exporters.lava.simulate import simulate_circuit


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
    if "input_bias" not in options:
        padded = np.zeros((steps, *circuit.input_shape), np.int32)
        padded[: len(inputs)] = inputs[:steps, 0]
        processes.feed(Source(data=np.ascontiguousarray(padded.transpose())).s_out)
    first = processes.populations[circuit.populations[0].key]
    first.run(RunSteps(num_steps=steps), Loihi2SimCfg(select_tag="fixed_pt"))
    found = {key: sink.data.get().transpose() for key, sink in sinks.items()}
    first.stop()
    return found


@pytest.mark.parametrize("name", ["g03", "g04", "g05", "g06", "g07", "g08", "g09", "g10a", "g10b", "g11", "g13"])
def test_lava_itself_runs_the_processes_with_the_recorded_spikes(recorded, name):
    pytest.importorskip("lava", reason="lava-nc is not installed")
    case = recorded(name)
    network = read(case.network)
    circuit = network.circuit(case.settings["skips"], network.input_shape or case.inputs.shape[2:])
    options = {key: case.settings[key] for key in ("reset_interval", "reset_offset", "input_message_bits")}
    if case.settings["mode"] == "bias":
        options["input_bias"] = case.inputs[0]
    found = spikes_in_lava(circuit, case.inputs, case.settings["steps"], **options)
    assert found.keys() == {key.removesuffix("_s") for key in case.expected if key.endswith("_s")}
    for key, spikes in found.items():
        assert np.array_equal(spikes, case.expected[f"{key}_s"][:, 0]), key


def test_without_lava_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lava", None)
    for name in [name for name in sys.modules if name.startswith("lava.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"lava: cannot be imported .* install lava-nc from github.com/lava-nc/lava") as caught:
        build(_chain(Matrix(weight=np.array([[2, 4]]))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", [[-256, 0], [-255, 254], [-256, 255], [0, 255], [-255, -1]])
def test_lava_itself_keeps_every_weight_of_a_matrix(weight):
    pytest.importorskip("lava", reason="lava-nc is not installed")
    circuit = _chain(Matrix(weight=np.array(weight)[:, None]))
    inputs = np.ones((3, 1, 1), np.int64)
    found = spikes_in_lava(circuit, inputs, 3)["only"]
    assert np.array_equal(found, simulate_circuit(circuit, inputs, 3)["only_s"][:, 0])


@pytest.mark.parametrize("seed", range(16))
def test_lava_itself_fires_what_the_simulator_says_for_circuits_of_all_kinds(random_circuit, seed):
    pytest.importorskip("lava", reason="lava-nc is not installed")
    circuit, generator = random_circuit(seed), np.random.default_rng(seed)
    inputs = (generator.random((12, 1, *circuit.input_shape)) < 0.4).astype(np.int64)
    reset = {"reset_interval": 7, "reset_offset": seed % 3} if seed % 2 else {}
    if circuit.has_input_neurons:
        bias = generator.integers(0, 400, circuit.input_shape)
        expected = simulate_circuit(circuit, bias[None], 16, mode="bias", **reset)
        reset["input_bias"] = bias
    else:
        expected = simulate_circuit(circuit, inputs, 16, **reset)
    found = spikes_in_lava(circuit, inputs, 16, **reset)
    for key, spikes in found.items():
        assert np.array_equal(spikes, expected[f"{key}_s"][:, 0]), key


def test_a_bias_of_input_neurons_that_are_not_there_is_refused():
    pytest.importorskip("lava", reason="lava-nc is not installed")
    with pytest.raises(UserError, match="the circuit has no input neurons"):
        build(_chain(Matrix(weight=np.array([[2, 4]]))), input_bias=np.zeros(2, np.int64))


def _chain(matrix):
    only = Population(key="only", shape=(len(matrix.weight),), neuron=CubaConstants(4096, 4096, 1))
    synapse = Synapse(source=INPUT, target=0, connection=matrix)
    return Circuit(input_shape=(matrix.weight.shape[1],), populations=(only,), synapses=(synapse,))


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 2))
    channels = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, padding, dilation = (draw(st.tuples(st.integers(low, 2), st.integers(low, 2))) for low in (1, 0, 1))
    sizes = tuple(d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True))
    weight = draw(st.randoms()).choices(range(-8, 9), k=channels[0] * (channels[1] // groups) * kernel[0] * kernel[1])
    weight = np.array(weight, np.int64).reshape(channels[0], channels[1] // groups, *kernel)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Convolution(weight=weight, **geometry), (channels[1], *sizes)


@settings(deadline=None)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_a_convolution_as_a_matrix_computes_what_the_convolution_computes(given_convolution, seed):
    convolution, source = given_convolution
    target = convolution.output_shape(source)
    x = np.random.default_rng(seed).integers(-3, 4, source)
    geometry = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
    expected = functional.conv2d(torch.from_numpy(x)[None], torch.from_numpy(convolution.weight), None, *geometry)[0]
    matrix = convolution_matrix(convolution, source, target)
    assert np.array_equal(matrix @ x.ravel(), expected.numpy().ravel())
    assert matrix.data.all()
