"""Neurons of any update: torch, ONNX Runtime in one go and step by step, and files that give the layer back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.updates import OPERATIONS, Instruction, Operand, Update
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.stored import StoredNode, restored, stored
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import differences
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx import Session, build
from neurodeploy_exporters.onnx.graph import read_graph
from neurodeploy_exporters.onnx.stepping import build_step, run_steps, step_model

Draw = Callable[[st.SearchStrategy[Any]], Any]
STEPS, BATCH = 4, 2
NUMBERS = st.sampled_from([-2.0, -0.3, 0.0, 0.1, 0.5, 0.9, 1.0, 1.7])
EXACT = sorted(name for name, one in OPERATIONS.items() if not one.approximate)


def eighths(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Whose sums are exact in any order."""
    return rng.integers(-8, 9, shape).astype(np.float32) / 8


@st.composite
def updates(draw: Draw, inputs: int, arrays: int) -> Update:
    """Programs of up to eight operations; no divisor is zero or depends on a current, whose zeros have either sign."""
    states = draw(st.integers(0, 3))
    constants = [st.tuples(st.just("number"), NUMBERS)]
    constants += [st.tuples(st.just("array"), st.integers(0, arrays - 1))] if arrays else []
    instructions: list[Instruction] = []

    def operand() -> Operand:
        places = [("input", inputs), ("state", states), ("result", len(instructions))]
        numbered = [st.tuples(st.just(place), st.integers(0, count - 1)) for place, count in places if count]
        return draw(st.one_of(*numbered, *numbered, *constants))

    for _ in range(draw(st.integers(1, 8))):
        operation = draw(st.sampled_from(EXACT))
        operands = [operand() for _ in range(OPERATIONS[operation].operands)]
        if operation == "div":
            operands[1] = ("number", draw(NUMBERS.filter(bool)))
        instructions.append(Instruction(operation, tuple(operands)))
    following = tuple(operand() for _ in range(states))
    initial = tuple(draw(st.one_of(st.just(("number", 0.0)), *constants)) for _ in range(states))
    return Update(inputs, tuple(instructions), initial, following, operand())


@st.composite
def graphs(draw: Draw) -> Graph:
    """A layer of a drawn update between an input and an output, with constants per neuron, channel or layer."""
    shape = draw(st.sampled_from([(5,), (2, 3), (2, 3, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    forms = draw(st.lists(st.sampled_from([(), shape, (shape[0], *(1,) * (len(shape) - 1)), (1,)]), max_size=2))
    inputs, size, returns = draw(st.integers(1, 2)), int(np.prod(shape)), draw(st.booleans())
    fields: dict[str, Any] = {
        "update": draw(updates(inputs + returns, len(forms))),
        "arrays": tuple(np.asarray(rng.normal(size=form), np.float32) for form in forms),
        "recurrent": eighths(rng, size, size) if returns else None,
        "recurrent_bias": eighths(rng, size) if returns and draw(st.booleans()) else None,
    }
    # answers that come back are those whose sums are exact
    if fields["update"].binary() or not returns:
        kind, largest = ops.CellNode, {"largest": draw(st.sampled_from([1, 3, None]))}
    else:
        kind, largest = ops.MembraneNode, {}
        fields |= {"recurrent": np.diag(rng.normal(size=size)).astype(np.float32), "recurrent_bias": None}
    node = kind(name="op", inputs=("input",) * inputs, **fields, **largest)
    return Graph([ops.InputNode(name="input", shape=shape, timed=True), node, ops.OutputNode(name="logits", inputs=("op",))])


def sequence(graph: Graph, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(STEPS, BATCH, *graph.input.shape)).astype(np.float32)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def equal(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.array_equal(found, expected, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_any_update_is_the_same_in_numpy_torch_and_onnx_runtime_and_comes_back_from_its_file(tmp_path_factory, graph):
    x = sequence(graph)
    expected = interpreter.run(graph, x)["logits"]
    module = GraphModule(graph)
    with torch.no_grad():
        assert equal(module(torch.from_numpy(x)).numpy(), expected)
    assert differences(trace(module, graph.input.shape, timed=True), graph) == ()
    nodes, arrays = stored(graph)
    again = tuple(StoredNode.model_validate(json.loads(node.model_dump_json())) for node in nodes)
    assert differences(restored(again, arrays), graph) == ()
    for streaming in (False, True):
        path = saved(build(graph, name="cells", streaming=streaming), tmp_path_factory.mktemp("cells"))
        session = Session(path)
        assert equal(session.run({"input": x})["logits"], expected)
        assert differences(read_graph(path), graph) == ()
        if session.states:
            assert equal(session.stream().each_step(x, STEPS)["logits"], expected)
    model = build_step(graph, name="cells", batch=BATCH)
    onnx.checker.check_model(model, full_check=True)
    assert equal(run_steps(Session(model), step_model(graph, None, model), {"input": x}, STEPS, ())["logits"], expected)
    assert not {node.op_type for node in model.graph.node} & {"Scan", "Shape", "Constant"}


def result(number: int) -> Operand:
    return ("result", number)


V, X, ONE, THETA = ("state", 0), ("input", 0), ("number", 1.0), ("array", 1)
LEAK = (Instruction("mul", (V, ("array", 0))), Instruction("add", (result(0), X)), Instruction("gt", (result(1), THETA)))
SOFT = Update(1, (*LEAK, Instruction("mul", (result(2), THETA)), Instruction("sub", (result(1), result(3)))),
              (("number", 0.25),), (result(4),), result(2))  # fmt: skip
COUNTING = Update(
    1,
    (
        Instruction("add", (V, X)),
        Instruction("floor", (result(0),)),
        Instruction("maximum", (result(1), ("number", 0.0))),
        Instruction("minimum", (result(2), ("number", 3.0))),
        Instruction("sub", (result(0), result(3))),
    ),
    (("number", 0.0),),
    (result(4),),
    result(3),
)  # fmt: skip


def network(node: ops.Node, *, inputs: int = 6, size: int = 5) -> Graph:
    rng = np.random.default_rng(3)
    return Graph(
        [
            ops.InputNode(name="input", shape=(inputs,), timed=True),
            ops.LinearNode(name="fc", inputs=("input",), weight=rng.normal(size=(size, inputs)).astype(np.float32)),
            node,
            ops.LinearNode(name="out", inputs=("op",), weight=rng.normal(size=(3, size)).astype(np.float32)),
            ops.NeuronNode(name="last", inputs=("out",), parameters=NeuronParameters(0.5, 0.5)),
            ops.LinearNode(name="head", inputs=("last",), weight=rng.normal(size=(2, 3)).astype(np.float32)),
            ops.TimeMeanNode(name="mean", inputs=("head",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def soft(**fields: Any) -> ops.CellNode:
    arrays = np.linspace(0.3, 0.9, 5, dtype=np.float32), np.linspace(0.2, 1.2, 5, dtype=np.float32)
    return ops.CellNode(name="op", inputs=("fc",), **{"update": SOFT, "arrays": arrays} | fields)


def recurrent(**fields: Any) -> ops.CellNode:
    rng = np.random.default_rng(4)
    instructions = (Instruction("add", (X, ("input", 1))), Instruction("mul", (V, ("array", 0))))
    instructions += (Instruction("add", (result(0), result(1))), Instruction("gt", (result(2), ONE)))
    instructions += (Instruction("where", (result(3), ("number", -0.1), result(2))),)
    update = Update(2, instructions, (("number", 0.0),), (result(4),), result(3))
    weights = {"recurrent": rng.normal(size=(5, 5)).astype(np.float32), "recurrent_bias": rng.normal(size=5).astype(np.float32)}
    return soft(update=update, **weights, **fields)


def events(seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (16, 4, 6)).astype(np.float32)


@pytest.mark.parametrize("node", [soft(), recurrent(), soft(update=COUNTING, largest=3)], ids=["soft", "recurrent", "counting"])
def test_on_the_exact_grid_no_spike_of_a_cell_differs_however_a_sequence_is_cut(node):
    graph, x = to_grid(network(node)), events()
    expected = interpreter.run(graph, x)
    assert expected["op"].mean() > 0
    assert 0 < expected["last"].mean() < 1
    session = Session(build(graph, name="n", streaming=True, spike_counts=True), also=graph.spiking)
    found, each = session.run({"input": x}), session.stream().each_step(x, 16)
    for layer in graph.spiking:
        assert np.array_equal(found[layer], expected[layer])
        assert np.array_equal(each[layer], expected[layer])
        assert np.array_equal(found[f"{layer}.spikes"], expected[layer].sum(2))


def test_recurrent_weights_are_put_on_the_grid_as_others_are():
    graph = to_grid(network(recurrent()))
    weight = graph["op"].recurrent
    step = 2.0 ** -(np.floor(np.log2(127.5 / np.abs(recurrent().recurrent).max())))
    assert np.array_equal(weight, np.rint(weight / step) * step)
    assert not np.array_equal(weight, recurrent().recurrent)


def test_what_is_not_the_same_everywhere_has_no_exact_form():
    with pytest.raises(UserError, match=r"node op: an update with an exponential .*; export without the exact grid"):
        to_grid(network(soft(update=Update(1, (Instruction("sigmoid", (X,)),), (), (), result(0)))))
    with pytest.raises(UserError, match="node op: recurrent sums of values other than a few spikes found"):
        to_grid(network(recurrent(largest=None)))


def test_every_state_of_a_stream_is_named_and_begins_with_zeros_outside_whatever_it_begins_with():
    model = build(network(soft()), name="n", streaming=True)
    states = {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.key == "states"}["states"]
    assert states["op.before.0"] == "op.after.0"
    assert states["op.steps0"] == "op.steps"
    stream, x = Session(model).stream(), events()
    expected = [stream.step(x[:1]).tensors["logits"] for _ in range(2)]
    stream.reset()
    assert np.array_equal(stream.step(x[:1]).tensors["logits"], expected[0])


def test_in_a_model_of_one_step_too_every_state_begins_with_zeros_outside():
    graph, x = network(soft()), events()
    model = build_step(graph, name="n", batch=x.shape[1])
    assert json.loads(next(entry.value for entry in model.metadata_props if entry.key == "states"))["op.begun0"] == "op.begun"
    found = run_steps(Session(model, also=graph.spiking), step_model(graph, None, model), {"input": x}, len(x), graph.spiking)
    expected = interpreter.run(graph, x)
    assert all(np.array_equal(found[layer], expected[layer]) for layer in graph.spiking)


def test_layers_of_one_update_share_a_function_and_keep_their_constants():
    first, second = soft(), soft(arrays=(np.float32([0.5]), np.ones(5, np.float32)))
    graph = network(first)
    graph = Graph([*graph.nodes[:3], replace(second, name="op2", inputs=("op",)), *(
        replace(node, inputs=("op2",)) if node.name == "out" else node for node in graph.nodes[3:]
    )])  # fmt: skip
    model = build(graph, name="n", functions=True)
    assert [one.name.split("_")[0] for one in model.functions].count("Cell") == 1
    assert np.array_equal(Session(model, also=["op2"]).run({"input": events()})["op2"].shape, (16, 4, 5))


def damaged(model: onnx.ModelProto) -> Any:
    return next(one for one in model.functions if one.name.startswith("Cell"))


def _other_operator(model: onnx.ModelProto) -> None:
    body = next(op for op in damaged(model).node if op.op_type == "Scan").attribute[0].g
    next(op for op in body.node if op.op_type == "Greater").op_type = "Less"


def _other_description(model: onnx.ModelProto) -> None:
    damaged(model).doc_string = damaged(model).doc_string.replace('"gt"', '"ge"')


def _no_description(model: onnx.ModelProto) -> None:
    damaged(model).doc_string = "{}"


def _other_beginning(model: onnx.ModelProto) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == "op.initial.0")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.5), "op.initial.0"))


@pytest.mark.parametrize("damage", [_other_operator, _other_description, _no_description, _other_beginning])
def test_a_file_whose_operators_are_not_those_of_its_update_is_refused(tmp_path, damage):
    model = build(network(soft()), name="n", functions=True)
    damage(model)
    with pytest.raises(UserError, match=r"model.onnx: operator op \(Cell_1_\w+_r3\): not as neurodeploy writes it; export"):
        read_graph(saved(model, tmp_path))
