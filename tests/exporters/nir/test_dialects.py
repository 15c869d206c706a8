"""A network in the form of each reader: the same graph comes back, terminals have the names that compilers look for."""

import nir
import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.nir import DIALECTS, read, read_with_conventions, write
from neurodeploy_exporters.nir.content import Content, load, store
from neurodeploy_exporters.nir.dialects import FIRST
from neurodeploy_exporters.nir.files import content_of
from neurodeploy_exporters.nir.readers import READERS
from neurodeploy_exporters.nir.target import NirOptions


def network(reset="hard", pool=ops.AvgPoolNode, decay=0.75):
    random = np.random.default_rng(4)
    normal = lambda *shape: (random.normal(size=shape) * 0.4 + 0.1).astype(np.float32)  # noqa: E731
    neuron = lambda name, before: ops.NeuronNode(  # noqa: E731
        name=name, inputs=(before,), parameters=NeuronParameters(decay, 0.5, reset)
    )
    return Graph(
        [
            ops.InputNode(name="frames", shape=(2, 6, 6), timed=True),
            ops.ConvNode(
                name="output", inputs=("frames",), weight=normal(3, 2, 3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1)
            ),
            neuron("input", "output"),
            pool(name="pool", inputs=("input",), kernel=(2, 2), stride=(2, 2)),
            ops.FlattenNode(name="flatten", inputs=("pool",)),
            ops.LinearNode(name="fc", inputs=("flatten",), weight=normal(5, 27), bias=normal(5)),
            neuron("last", "fc"),
            ops.TimeMeanNode(name="mean", inputs=("last",)),
            ops.OutputNode(name="answer", inputs=("mean",)),
        ]
    )


def events(*shape):
    return (np.random.default_rng(0).random((9, 4, *shape)) < 0.4).astype(np.float32)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("pool", [ops.AvgPoolNode, ops.MaxPoolNode])
def test_every_dialect_gives_the_graph_back_and_names_the_terminals_as_nir_does(tmp_path, dialect, pool):
    graph, path = network(pool=pool), tmp_path / "x.nir"
    write(graph, path, dialect=dialect, outputs=("input",))
    reading = read_with_conventions(path)
    assert differences(graph, reading.graph) == ()
    assert (reading.outputs, reading.warnings) == (("input",), ())
    content = load(path)
    terminals = {name: node.kind for name, node in content.nodes.items() if node.kind in ("Input", "Output")}
    assert terminals == {"input": "Input", "output": "Output", "output_1": "Output"}
    assert content.metadata["output_1.tensor"] == "input"
    assert content.metadata["dialect"] == dialect
    assert {"output_", "input_"} < content.nodes.keys()  # layers of those names give way
    if dialect != "sinabs":  # whose one number for a layer is no shape for versions of nir that sinabs does not take
        assert nir.read(path).nodes["output"].output_type["output"].tolist() == [5]


@pytest.mark.parametrize(
    ("dialect", "convention"),
    [
        ("nir", "nir"),
        ("snn-mlir", "nir"),
        ("spikingjelly", "spikingjelly"),
        ("norse", "nir"),
    ],
)
@pytest.mark.parametrize("pool", [ops.AvgPoolNode, ops.MaxPoolNode])
def test_a_stranger_who_steps_as_the_reader_does_sees_the_same_spikes(tmp_path, dialect, convention, pool):
    graph, path = network(pool=pool), tmp_path / "x.nir"
    write(graph, path, dialect=dialect)
    strange = read(path, convention=convention)
    expected, found = interpreter.run(graph, events(2, 6, 6)), interpreter.run(strange, events(2, 6, 6))
    for mine, theirs in (("input", "input_"), ("last", "last")):
        assert 0.05 < expected[mine].mean() < 0.98
        assert (found[theirs] != expected[mine]).mean() < 1e-3  # 1 - dt/tau is rounded


def test_sinabs_decays_by_exponentials_of_steps_and_fires_at_the_threshold(tmp_path):
    graph, path = network("soft", decay=0.5), tmp_path / "x.nir"
    write(graph, path, dialect="sinabs")
    strange = read(path, convention="sinabs:norm_input=false,spike_fn=SingleSpike")
    expected, found = interpreter.run(graph, events(2, 6, 6)), interpreter.run(strange, events(2, 6, 6))
    assert (found["last"] != expected["last"]).mean() < 1e-2
    fields = load(path).nodes["last"].fields
    assert {name: value.shape for name, value in fields.items()} == dict.fromkeys(("tau", "r", "v_leak", "v_threshold"), (1,))
    np.testing.assert_allclose(np.exp(-1 / fields["tau"]), 0.5)
    assert fields["v_threshold"] == np.nextafter(np.float32(0.5), np.float32(1))


def test_files_of_before_there_were_dialects_are_read_as_they_were(tmp_path):
    graph, path = network(pool=ops.MaxPoolNode), tmp_path / "x.nir"
    store(content_of(graph, dialect=FIRST, outputs=("input",)), path)
    content = load(path)
    assert {"frames", "answer", "input.output"} < content.nodes.keys()
    assert (content.nodes["last"].fields["r"] == 1).all()
    assert differences(graph, read(path)) == ()


def test_a_file_whose_dialect_was_changed_is_refused(tmp_path):
    content = content_of(network(), dialect="spyx")
    changed = {
        key: value.replace('"spyx"', '"nir"') if isinstance(value, str) else value for key, value in content.metadata.items()
    }
    store(Content(content.nodes, content.edges, changed), tmp_path / "x.nir")
    with pytest.raises(UserError, match="is not what the metadata of neurodeploy tell"):
        read(tmp_path / "x.nir")


def test_a_dialect_that_there_is_not_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="dialect 'lava': not known; there are: nir, norse, spikingjelly, snn-mlir"):
        write(network(), tmp_path / "x.nir", dialect="lava")
    assert not list(tmp_path.iterdir())


def test_the_option_of_the_target_and_every_readers_dialect_are_dialects():
    assert {reader.dialect for reader in READERS.values()} <= DIALECTS.keys()
    for dialect in DIALECTS:
        assert NirOptions(nir_dialect=dialect).nir_dialect == dialect
