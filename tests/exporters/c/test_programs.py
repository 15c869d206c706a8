"""C programs fire what the exact network fires and answer what it answers, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.module import torch_run
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.deployed import in_integers
from neurodeploy_exporters.c.file import KernelChoice
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.running import compiler, opened
from tests.exporters.test_random_graphs import graphs, samples

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")
QUICK = ("-O0",)
RNG = np.random.default_rng(5)


def exact(graph: Graph, x: np.ndarray, kernel: str = "event") -> CProgram:
    """The program of a network, seen on `x`."""
    steps = graph.steps or len(x)
    made = in_integers(graph, x, steps)
    return program_of(
        made,
        steps,
        {node.name: KernelChoice(kernel) for node in made.nodes if isinstance(node, ops.Weighted)},
        events=graph.input.timed,
    )


def differing(program: CProgram, x: np.ndarray, flags: tuple[str, ...] = QUICK) -> list[str]:
    """The layers that fire otherwise than in the interpreter and in torch, and the logits if they differ."""
    expected, answer = interpreter.run(program.graph, x), program.graph.output.name
    inside = torch_run(program.graph)(x, [*program.graph.spiking, answer])
    with opened(program, program.files, flags=flags, memory=None) as run:
        spikes, logits = run(x)
    found = {**spikes, answer: logits}
    return [
        name
        for name in found
        if not (np.array_equal(found[name], expected[name]) and np.array_equal(found[name], inside[name]))
    ]


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # each step of a shrinking would call the compiler
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_random_network_computes_the_same_in_c_or_is_refused_by_name(data):
    graph = data.draw(graphs())
    x = data.draw(samples(graph))
    try:
        program = exact(graph, x, data.draw(st.sampled_from(["event", "dense"])))
    except UserError as error:
        assert str(error).startswith("node ")  # noqa: PT017 - most networks are not refused
        return
    assert differing(program, x) == []


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def spiking(*middle: ops.Node, shape: tuple[int, ...] = (12,), classes: int = 3) -> Graph:
    """A network of an event input, these layers in a row, a linear layer and the mean over time."""
    members: list[ops.Node] = [ops.InputNode(name="input", shape=shape, timed=True), *middle]
    made = Graph([*members, ops.OutputNode(name="end", inputs=(members[-1].name,))])
    last = made.shape(members[-1].name)[0]
    return Graph(
        [
            *members,
            ops.LinearNode(name="classifier", inputs=(members[-1].name,), weight=weights(classes, last), bias=weights(classes)),
            ops.TimeMeanNode(name="mean", inputs=("classifier",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


def events(steps: int, *shape: int, rate: float = 0.4) -> np.ndarray:
    return (RNG.random((steps, 2, *shape)) < rate).astype(np.float32)


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
@pytest.mark.parametrize(("decay", "threshold"), [(0.0, 0.7), (0.25, 0.5), (0.75, 1.0), (0.9, 0.7), (1.0, 0.3), (1.0, 1.0)])
def test_neurons_of_any_decay_threshold_and_reset_fire_alike(decay, threshold, reset):
    neuron = NeuronParameters(decay, threshold, reset)
    graph = spiking(
        ops.LinearNode(name="fc", inputs=("input",), weight=weights(40, 12), bias=weights(40)),
        ops.NeuronNode(name="fire", inputs=("fc",), parameters=neuron),
        ops.LinearNode(name="fc2", inputs=("fire",), weight=weights(9, 40), bias=weights(9)),
        ops.NeuronNode(name="fire2", inputs=("fc2",), parameters=neuron),
    )
    x = events(9, 12)
    assert differing(exact(graph, x), x) == []


def test_a_thousand_steps_of_neurons_that_keep_everything_stay_in_integers():
    graph = spiking(
        ops.LinearNode(name="fc", inputs=("input",), weight=weights(10, 12), bias=weights(10)),
        ops.NeuronNode(name="fire", inputs=("fc",), parameters=NeuronParameters(1.0, 1.0, "soft")),
    )
    x = events(1000, 12)
    program = exact(graph, x)
    assert "potentials up to" in program.units[0].remarks["fire"]
    assert differing(program, x) == []


def test_a_graph_whose_sums_over_all_steps_overflow_is_refused_by_the_name_of_the_node():
    graph = spiking(
        ops.LinearNode(name="fc", inputs=("input",), weight=weights(10, 12)),
        ops.NeuronNode(name="fire", inputs=("fc",), parameters=NeuronParameters(1.0, 1.0, "soft")),
    )
    made = in_integers(graph, events(4, 12), 4)
    with pytest.raises(UserError, match=r"^node mean: its sums over 10000000 steps could reach"):
        program_of(made, 10_000_000)


def test_weights_off_the_grid_are_refused_by_the_name_of_their_layer():
    graph = spiking(
        ops.LinearNode(name="fc", inputs=("input",), weight=weights(10, 12)),
        ops.NeuronNode(name="fire", inputs=("fc",), parameters=NeuronParameters(1.0, 1.0, "soft")),
    )
    with pytest.raises(UserError, match=r"^node fc: weights that are no 8-bit integers"):
        program_of(graph, 4)


def test_products_of_two_signals_are_refused_by_name():
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(2, 4, 4), timed=True),
            ops.NeuronNode(name="fire", inputs=("input",), parameters=NeuronParameters(1.0, 0.5)),
            ops.MatMulNode(name="attention", inputs=("fire", "fire")),
            ops.TimeMeanNode(name="mean", inputs=("attention",)),
            ops.FlattenNode(name="flat", inputs=("mean",)),
            ops.OutputNode(name="logits", inputs=("flat",)),
        ]
    )
    with pytest.raises(UserError, match=r"^node attention: a product of two signals"):
        program_of(graph, 4)


def past_all_spikes(source: str, *, timed: bool) -> Graph:
    """A network whose answer reads, beside spikes, what no neuron has seen: the input, or a current of it."""
    entry = () if timed else (ops.EncodeNode(name="encode", inputs=("current",), steps=5),)
    current = "current" if timed else "encode"
    aside = () if timed or source == "encode" else (ops.EncodeNode(name="again", inputs=("aside",), steps=5),)
    return Graph(
        [
            ops.InputNode(name="input", shape=(12,), timed=timed),
            ops.LinearNode(name="current", inputs=("input",), weight=weights(40, 12), bias=weights(40)),
            *entry,
            ops.NeuronNode(name="fire", inputs=(current,), parameters=NeuronParameters(0.5, 1.0, "soft")),
            ops.LinearNode(name="near", inputs=("fire",), weight=weights(3, 40), bias=weights(3)),
            ops.LinearNode(name="aside", inputs=(source,), weight=weights(3, 12 if source == "input" else 40)),
            *aside,
            ops.AddNode(name="sum", inputs=("near", aside[-1].name if aside else "aside")),
            ops.TimeMeanNode(name="mean", inputs=("sum",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )


@pytest.mark.parametrize(("source", "timed"), [("input", False), ("current", False), ("encode", False), ("input", True)])
def test_a_head_may_read_what_passes_all_spiking_layers_by(source, timed):
    graph = past_all_spikes(source, timed=timed)
    x = events(4, 12) if timed else (RNG.integers(0, 257, (3, 12)) / 256).astype(np.float32)
    program = exact(graph, x)
    assert [unit.part for unit in program.units] == ["body", "head"]
    assert differing(program, x) == []


@pytest.mark.parametrize("kernel", ["event", "dense"])
@pytest.mark.parametrize("kind", ["conv", "resnet"])
@pytest.mark.parametrize("repact", [False, True])
def test_the_networks_of_the_zoo_compute_the_same_clean_of_undefined_behaviour(graph, digits, kind, repact, kernel):
    network = graph(kind, "soft", repact)
    x = digits[0][:8]
    program = exact(network, x, kernel)
    assert differing(program, x, ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")) == []


def test_two_contexts_side_by_side_do_not_disturb_one_another(graph, digits, tmp_path):
    program = exact(graph("conv"), digits[0][:2])
    source = (Path(__file__).parent / "two_contexts.c").read_text()
    from neurodeploy_exporters.c.running import Limits, run_limited

    for name, text in {**program.files, "two_contexts.c": source}.items():
        (tmp_path / name).write_text(text)
    units = [name for name in program.files if name.endswith(".c")]
    command = compiler()
    assert command is not None
    run_limited([command, "-std=c99", "-o", "two", *units, "two_contexts.c"], tmp_path, Limits())
    given = np.ascontiguousarray(program.entrance.integers(digits[0][:2])).tobytes()
    raw = run_limited([str(tmp_path / "two")], tmp_path, Limits(), given)
    found = program.logits_in_order(np.frombuffer(raw, "<i4").reshape(2, -1), program.steps)
    assert np.array_equal(found, interpreter.run(program.graph, digits[0][:2])[program.graph.output.name])
