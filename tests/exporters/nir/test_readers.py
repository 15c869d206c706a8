"""What each tool looks for in a file, as a rule of its own; and that the file in its dialect meets it."""

import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, ops
from neurodeploy_exporters.nir.content import Content, Primitive
from neurodeploy_exporters.nir.dialects import FIRST
from neurodeploy_exporters.nir.files import content_of
from neurodeploy_exporters.nir.readers import READERS


def layers(*members, shape=(6,)):
    made = [ops.InputNode(name="x", shape=shape, timed=True)]
    for name, kind, fields in members:
        made.append(kind(name=name, inputs=(made[-1].name,), **fields))
    return Graph([*made, ops.OutputNode(name="y", inputs=(made[-1].name,))])


def neuron(name, decay=0.75, reset="hard"):
    return name, ops.NeuronNode, {"parameters": NeuronParameters(decay, 1.0, reset)}


def linear(name, outputs=4, inputs=6, bias=False):
    offset = np.ones(outputs, np.float32) if bias else None
    return name, ops.LinearNode, {"weight": np.ones((outputs, inputs), np.float32), "bias": offset}


def conv(name, dilation=1):
    geometry = {"stride": (1, 1), "padding": (1, 1), "dilation": (dilation, dilation)}
    return name, ops.ConvNode, {"weight": np.ones((3, 2, 3, 3), np.float32), **geometry}


POOL = ("pool", ops.AvgPoolNode, {"kernel": (2, 2), "stride": (2, 2)})
SIMPLE = layers(linear("fc1"), neuron("lif1"), linear("fc2", 3, 4), neuron("lif2"))
DEEP = layers(
    conv("conv"), neuron("lif"), POOL, ("flat", ops.FlattenNode, {}), linear("fc", 5, 27), neuron("last"), shape=(2, 6, 6)
)
INTEGRATING = layers(linear("fc1"), neuron("if", 1.0))


def findings(reader, graph, **options):
    return [(one.severity, one.node) for one in READERS[reader].findings(content_of(graph, **options))]


@pytest.mark.parametrize("reader", ["spikingjelly", "snntorch", "norse", "snn-mlir", "snn2mcu", "nir2fpga"])
def test_a_file_in_a_readers_dialect_meets_its_rules(reader):
    assert findings(reader, SIMPLE, dialect=READERS[reader].dialect) == []


@pytest.mark.parametrize("reader", ["spikingjelly", "snntorch", "snn-mlir"])
def test_pools_and_flattening_are_read_too(reader):
    assert findings(reader, DEEP, dialect=READERS[reader].dialect) == []


@pytest.mark.parametrize("reader", ["sinabs", "spyx"])
def test_frameworks_with_neurons_of_their_own_differ_in_these_alone(reader):
    assert set(findings(reader, SIMPLE, dialect=READERS[reader].dialect)) == {("differs", "lif1"), ("differs", "lif2")}


def test_snn_mlir_needs_the_terminals_by_name_and_takes_the_step_from_r():
    assert findings("snn-mlir", SIMPLE, dialect=FIRST) == [
        ("refused", ""),
        ("refused", ""),
        ("wrong", "lif1"),
        ("wrong", "lif2"),
    ]
    assert findings("snn-mlir", SIMPLE, dialect="norse") == [("wrong", "lif1"), ("wrong", "lif2")]
    assert findings("snn-mlir", INTEGRATING) == [("refused", "if")]
    assert findings("snn-mlir", INTEGRATING, dialect="snn-mlir") == []


def test_snn_mlir_knows_no_dilation_and_sums_before_neurons_alone():
    assert findings("snn-mlir", layers(conv("conv", 2), neuron("lif"), shape=(2, 6, 6))) == [("refused", "conv")]
    residual = Graph(
        [
            *layers(linear("fc1"), neuron("lif1"), linear("fc2", 4, 4)).nodes[:-1],
            ops.AddNode(name="add", inputs=("lif1", "fc2")),
            ops.NeuronNode(name="lif2", inputs=("add",), parameters=NeuronParameters(0.5, 1.0, "hard")),
            ops.OutputNode(name="y", inputs=("lif2",)),
        ]
    )
    assert set(findings("snn-mlir", residual)) == {("refused", "lif1"), ("refused", "lif2")}
    assert set(findings("nir2fpga", residual, dialect="nir2fpga")) == {("refused", "lif1"), ("refused", "lif2")}


def test_spyx_reads_nothing_without_an_input_by_name_and_passes_over_averages():
    assert ("wrong", "") in findings("spyx", SIMPLE, dialect=FIRST)
    assert ("wrong", "pool") in findings("spyx", DEEP)
    assert [one for one in findings("spyx", DEEP, dialect="spyx") if one[0] == "wrong"] == [("wrong", "flat")]
    assert ("differs", "") in findings("spyx", SIMPLE)  # the dt, which it is to be given


def test_snn2mcu_walks_over_pairs_of_linear_layer_and_lif_neurons():
    assert findings("snn2mcu", SIMPLE, dialect=FIRST)[0] == ("refused", "")
    assert findings("snn2mcu", layers(linear("fc1", bias=True), neuron("lif1"))) == [("wrong", "fc1")]
    assert findings("snn2mcu", layers(linear("rectified"), neuron("lif1"))) == [("wrong", "rectified")]
    assert ("wrong", "if") in findings("snn2mcu", INTEGRATING)
    assert ("wrong", "lif1") in findings("snn2mcu", SIMPLE, dialect="norse")
    assert ("refused", "input") in findings("snn2mcu", DEEP)


def test_nir2fpga_counts_time_in_steps_over_a_chain_of_one_axis():
    assert findings("nir2fpga", SIMPLE) == [("wrong", "lif1"), ("wrong", "lif2")]
    assert findings("nir2fpga", SIMPLE, dialect=FIRST)[:2] == [("refused", ""), ("refused", "")]
    kinds = {node for severity, node in findings("nir2fpga", DEEP, dialect="nir2fpga") if severity == "refused"}
    assert kinds == {"input", "conv", "pool", "flat"}


def test_norse_takes_r_for_1_and_sinabs_fails_on_constants_with_axes():
    assert findings("norse", SIMPLE) == [("wrong", "lif1"), ("wrong", "lif2")]
    assert ("wrong", "pool") in findings("norse", DEEP)
    assert ("refused", "lif") in findings("sinabs", DEEP)
    assert not [one for one in findings("sinabs", DEEP, dialect="sinabs") if one[0] != "differs"]


def test_a_file_without_dt_is_judged_by_what_a_reader_makes_of_its_numbers():
    node = Primitive("LIF", {"tau": np.full(3, 10.0), "r": np.ones(3), "v_leak": np.zeros(3), "v_threshold": np.ones(3)})
    nodes = {
        "input": Primitive("Input", {"shape": np.array([3])}),
        "n": node,
        "output": Primitive("Output", {"shape": np.array([3])}),
    }
    content = Content(nodes, (("input", "n"), ("n", "output")))
    assert [str(one) for one in READERS["snn-mlir"].findings(content)] == [
        "wrong: n: takes tau/R for the step: with R = 1 nothing of the potential is kept"
    ]
