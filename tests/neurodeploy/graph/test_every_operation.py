"""Every operation has a rule in every place where networks go, or is refused there by name with a reason."""

import subprocess
import sys
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.updates import Instruction, Update
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.table import Table
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import nir
from neurodeploy_exporters.c import rules
from neurodeploy_exporters.lava import wiring
from neurodeploy_exporters.nir import primitives
from neurodeploy_exporters.onnx import Session, build, operators
from neurodeploy_exporters.onnx.graph import read_graph

TABLES: dict[str, Table[Any]] = {
    "ONNX": operators.OPERATIONS,
    "NIR": primitives.OPERATIONS,
    "Loihi": wiring.OPERATIONS,
    "C": rules.OPERATIONS,
}
RNG = np.random.default_rng(0)
WINDOW = {"kernel": (2, 2), "stride": (2, 2)}


def weights(*shape: int) -> np.ndarray:
    """Eighths, whose sums are exact in any order."""
    return np.rint(8 * RNG.normal(size=shape)).astype(np.float32) / 8


V, X, H = ("state", 0), ("input", 0), ("result", 1)
CHARGE = (Instruction("mul", (("array", 0), V)), Instruction("add", (("result", 0), X)))
FIRE = (Instruction("gt", (H, ("array", 1))), Instruction("where", (("result", 2), ("number", 0), H)))
LEAKY = Update(1, (*CHARGE, *FIRE), (("number", 0),), (("result", 3),), ("result", 2))
READ_OUT = Update(1, CHARGE, (("number", 0),), (H,), H)
IMAGE, VECTOR = (2, 4, 4), (6,)
EXAMPLES: dict[type[ops.Node], tuple[tuple[int, ...], dict[str, Any]]] = {
    ops.InputNode: (VECTOR, {}),
    ops.OutputNode: (VECTOR, {}),
    ops.EncodeNode: (VECTOR, {"steps": 3}),
    ops.ConvNode: (IMAGE, {"weight": weights(3, 2, 3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1)}),
    ops.ConvTransposeNode: (
        IMAGE,
        {
            "weight": weights(2, 3, 2, 2),
            "bias": weights(3),
            "stride": (2, 2),
            "padding": (0, 1),
            "output_padding": (1, 0),
            "dilation": (1, 1),
        },
    ),
    ops.PadNode: (IMAGE, {"pads": ((1, 2), (0, 1), (2, 0))}),
    ops.SliceNode: (IMAGE, {"starts": (1, 0, 1), "stops": (2, 4, 3), "steps": (1, 2, 1)}),
    ops.ConcatNode: (IMAGE, {"axis": 1}),
    ops.ReshapeNode: (IMAGE, {"shape": (4, 8)}),
    ops.PermuteNode: (IMAGE, {"order": (2, 0, 1)}),
    ops.LinearNode: (VECTOR, {"weight": weights(5, 6), "bias": weights(5)}),
    ops.BatchNormNode: (IMAGE, {"scale": weights(2), "shift": weights(2)}),
    ops.NeuronNode: (VECTOR, {"parameters": NeuronParameters(0.5, 0.5, "hard")}),
    ops.LowPassNode: (VECTOR, {"decay": 0.5}),
    ops.DelayNode: (VECTOR, {"steps": 2}),
    ops.CellNode: (IMAGE, {"update": LEAKY, "arrays": (np.float32([[[0.5]], [[0.75]]]), np.ones(1, np.float32))}),
    ops.MembraneNode: (VECTOR, {"update": READ_OUT, "arrays": (np.linspace(0.25, 0.75, 6, dtype=np.float32),)}),
    ops.FixedPointNeuronNode: (VECTOR, {"v_decay": 1024, "threshold": 1}),
    ops.NormalizeNode: (IMAGE, {"mean": weights(2), "std": np.array([0.7, 1.3], np.float32)}),
    ops.QuantizeNode: (VECTOR, {"exponent": -1, "largest": 1}),
    ops.AvgPoolNode: (IMAGE, WINDOW),
    ops.MatMulNode: ((2, 4, 4), {}),
    ops.MaxPoolNode: (IMAGE, WINDOW),
}
"""Operation → shape of its input, and its fields; of those that are not here all fields have defaults."""
FED_BY_SPIKES = (ops.MaxPoolNode,)  # NIR pools nothing else
INEXACT = (ops.NormalizeNode, ops.MatMulNode, ops.TimeMeanNode, ops.OutputNode)
EVERY = list(ops.operations().values())


def example(kind: type[ops.Node]) -> Graph:
    """A network of this operation, fed by a sequence unless it makes one; its node is called `op` where it can have a name."""
    shape, values = EXAMPLES.get(kind, (VECTOR, {}))
    members: list[ops.Node] = [ops.InputNode(name="input", shape=shape, timed=kind is not ops.EncodeNode)]
    if kind in FED_BY_SPIKES:
        members.append(ops.NeuronNode(name="fire", inputs=("input",), parameters=NeuronParameters(0.5, 0.5)))
    if kind not in (ops.InputNode, ops.OutputNode):
        members.append(kind(name="op", inputs=(members[-1].name,) * kind.arity, **values))
    return Graph([*members, ops.OutputNode(name="logits", inputs=(members[-1].name,))])


def node_of(graph: Graph, kind: type[ops.Node]) -> ops.Node:
    return next(node for node in graph.nodes if type(node) is kind)


def samples(graph: Graph) -> np.ndarray:
    leading = (4, 3) if graph.input.timed else (3,)
    return RNG.integers(-3, 4, (*leading, *graph.input.shape)).astype(np.float32)


def gaps(kind: type[ops.Node]) -> list[str]:
    """What an operation does not say."""
    found = sorted(getattr(kind, "__abstractmethods__", ()))
    found += [place for place, table in TABLES.items() if table.row(kind) is None]
    required = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}
    if kind not in EXAMPLES and not required <= {"name", "inputs"}:
        found.append("an example")
    return found


@pytest.mark.parametrize("kind", EVERY)
def test_an_operation_has_a_row_everywhere(kind):
    assert gaps(kind) == []


@pytest.mark.parametrize("kind", EVERY)
def test_torch_computes_what_the_reference_computes_and_becomes_the_operation_again(kind):
    graph = example(kind)
    x = samples(graph)
    expected = interpreter.run(graph, x)["logits"]
    assert expected.shape[2 if graph.timed("logits") else 1 :] == graph.shape("logits")
    module = GraphModule(graph)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    assert np.array_equal(found, expected)
    assert differences(trace(module, graph.input.shape, timed=graph.input.timed), graph) == ()


@pytest.mark.parametrize("kind", EVERY)
def test_an_operation_has_a_range_on_the_exact_grid_or_is_refused_by_name(kind):
    node, inputs = node_of(example(kind), kind), [ops.Range(0, 1)] * kind.arity
    if kind in INEXACT:
        with pytest.raises(UserError, match=f"^node {node.name}"):
            node.exact_range(inputs)
    else:
        assert isinstance(node.exact_range(inputs), ops.Range | None)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind in operators.OPERATIONS])
def test_onnx_runtime_computes_what_the_reference_computes_and_the_model_is_the_graph_again(kind, tmp_path):
    graph = example(kind)
    x = samples(graph)
    model = build(graph, name="example")
    found = Session(model).run({"input": x}, steps=graph.steps)["logits"]
    expected = interpreter.run(graph, x)["logits"]
    assert np.array_equal(found, expected)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    again = read_graph(tmp_path / "model.onnx")
    assert [(type(node), node.name, node.inputs) for node in again.nodes] == [
        (type(node), node.name, node.inputs) for node in graph.nodes
    ]
    assert np.array_equal(interpreter.run(again, x)["logits"], expected)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind in primitives.OPERATIONS])
def test_a_nir_file_is_the_graph_again(kind, tmp_path):
    graph = example(kind)
    nir.write(graph, tmp_path / "model.nir")
    assert differences(nir.read(tmp_path / "model.nir"), graph) == ()


@pytest.mark.parametrize("place", TABLES)
@pytest.mark.parametrize("kind", EVERY)
def test_what_a_target_refuses_it_refuses_by_name_with_what_to_do(kind, place):
    node, table = node_of(example(kind), kind), TABLES[place]
    if kind in table:
        table.check([node])
        return
    with pytest.raises(
        UserError, match=rf"^node {node.name}\b.*[:;] .*(export|retrain|train|replace|put|encode|leave|end|quantise)"
    ):
        table.check([node])


def test_an_operation_without_rows_is_noticed_and_cannot_be_made():
    @dataclass(frozen=True, eq=False, kw_only=True)
    class NewNode(ops.Operation):
        gain: float

    assert gaps(NewNode) == ["compute", "layer", "output_shape", "ONNX", "NIR", "Loihi", "C", "an example"]
    assert ops.operations()["New"] is NewNode
    with pytest.raises(TypeError, match="abstract"):
        NewNode(name="op", inputs=("input",), gain=1.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class NewNeuronNode(ops.NeuronNode):
    """Computes something else than what it derives from."""

    parameters: NeuronParameters = NeuronParameters()  # noqa: RUF009 - frozen


def test_a_new_neuron_lacks_no_more_than_a_rule_for_onnx_and_is_not_taken_for_another():
    assert gaps(NewNeuronNode) == ["ONNX"]
    graph = example(NewNeuronNode)
    with pytest.raises(UserError, match=r"node op \(NewNeuron\): has no form in the ONNX export; replace the layer"):
        build(graph, name="example")
    with pytest.raises(UserError, match=r"node op \(NewNeuron\): has no form in NIR; it has IF, LIF and CubaLIF neurons alone"):
        nir.write(graph, "never.nir")
    with pytest.raises(
        UserError, match=r"node op \(NewNeuron\): has no form on Loihi; its neurons are LIF neurons: train those"
    ):
        wiring.OPERATIONS.check(graph.nodes[1:])


def test_a_graph_is_read_without_torch():
    code = "import sys, neurodeploy.graph.interpreter, neurodeploy.graph.grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
