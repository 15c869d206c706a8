"""Programs step by step: streams of any length up to the one that is proved, body and head in programs of their own."""

from pathlib import Path

import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.io.errors import UserError
from neurodeploy_exporters import find
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.c.building import program_of
from neurodeploy_exporters.c.deployed import in_integers
from neurodeploy_exporters.c.program import CProgram
from neurodeploy_exporters.c.reading import program_in
from neurodeploy_exporters.c.running import WARNINGS, Limits, compiler, opened, run_limited
from neurodeploy_exporters.verify import verify
from tests.exporters.c.test_programs import events, exact, spiking, weights

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")


def network(skip: int = 0, *, after: bool = False) -> Graph:
    """Event inputs, neurons that leak, and the mean over time; `after`: a layer reads that mean."""
    graph = spiking(
        ops.LinearNode(name="fc", inputs=("input",), weight=weights(10, 12), bias=weights(10)),
        ops.NeuronNode(name="fire", inputs=("fc",), parameters=NeuronParameters(0.75, 1.0, "soft")),
    )
    last = ops.LinearNode(name="last", inputs=("mean",), weight=weights(4, 3), bias=weights(4))
    return Graph(
        [
            *graph.nodes[:-2],
            ops.TimeMeanNode(name="mean", inputs=("classifier",), skip=skip),
            *([last] if after else []),
            ops.OutputNode(name="logits", inputs=("last" if after else "mean",)),
        ]
    )


def apart(program: CProgram, inputs: np.ndarray, steps: int, folder: Path) -> np.ndarray:
    """Logits of one sample by two programs: one holds the body alone, the other the head alone."""
    for name, text in program.files.items():
        (folder / name).write_text(text)
    for part in ("body", "head"):
        (folder / f"{part}_alone.c").write_text((Path(__file__).parent / f"{part}_alone.c").read_text())
        units = [f"{part}.c", f"{part}_alone.c"]
        run_limited([compiler() or "", *WARNINGS, "-o", part, *units], folder, Limits())
    given = np.ascontiguousarray(program.entrance.integers(inputs)).tobytes()
    crossed = run_limited([str(folder / "body"), str(steps)], folder, Limits(), given)
    raw = run_limited([str(folder / "head")], folder, Limits(), crossed)
    kind = "<f4" if program.answer.type == "float" else "<i4"
    return program.logits_in_order(np.frombuffer(raw, kind)[None], steps)


@pytest.mark.parametrize("skip", [0, 7])
def test_a_thousand_steps_streamed_through_two_programs_equal_the_whole(tmp_path, skip):
    graph, x = network(skip), events(1000, 12)
    program = exact(graph, x)
    with opened(program, program.files) as run:
        _, whole = run(x)
    assert np.array_equal(whole, interpreter.run(program.graph, x)["logits"])
    assert np.array_equal(apart(program, x[:, 0], 1000, tmp_path)[0], whole[0])


@pytest.mark.parametrize("repact", [False, True])
def test_the_head_is_a_program_of_its_own_that_needs_nothing_of_the_body_but_what_crosses(graph, digits, tmp_path, repact):
    program, x = exact(graph("conv", "soft", repact), digits[0][:3]), digits[0][:3]
    assert any(name == "head.c" for name in program.files)
    expected = interpreter.run(program.graph, x)[program.graph.output.name]
    assert np.array_equal(apart(program, x[:1], program.steps, tmp_path)[0], expected[0])


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", [3, 4, 11, 20])
def test_a_sequence_may_be_shorter_than_the_longest_and_its_mean_is_over_its_own_steps(steps, after):
    graph, x = network(2, after=after), events(20, 12)
    made = in_integers(graph, x, 20)
    program = program_of(made, 20, events=True)
    with opened(program, program.files) as run:
        spikes, logits = run(x[:steps])
    expected = interpreter.run(made, x[:steps])
    assert np.array_equal(spikes["fire"], expected["fire"])
    assert np.array_equal(logits, expected["logits"])


@pytest.mark.parametrize("steps", [2, 21])
def test_a_sequence_of_which_nothing_is_left_or_that_is_too_long_gets_no_answer(steps):
    program = program_of(in_integers(network(2), events(20, 12), 20), 20, events=True)
    with opened(program, program.files) as run, pytest.raises(UserError, match=r"at most 20 expected|exit code 3"):
        run(events(steps, 12))


def test_a_bundle_is_proved_for_streams_longer_than_its_sample(tmp_path):
    x = events(9, 12)
    folder = find("c").write(network(), x, tmp_path / "bundle", name="stream", max_steps=300)
    program, _ = program_in(read_bundle(folder))
    assert program.steps == 300
    assert "#define MODEL_STEPS 300" in (folder / "model.h").read_text()
    assert verify(folder).passed
    long = events(300, 12)
    with opened(program, program.files) as run:
        assert np.array_equal(run(long)[1], interpreter.run(program.graph, long)["logits"])


def test_max_steps_is_refused_where_steps_are_the_networks_own_or_the_sample_has_more(tmp_path, graph, digits):
    with pytest.raises(UserError, match=r"^max_steps: 9 found, for a network that runs for"):
        find("c").write(graph("conv"), digits[0][:2], tmp_path / "bundle", name="small", max_steps=9)
    with pytest.raises(UserError, match=r"^max_steps: 9 found, for a network that runs for"):
        find("c").write(network(-1), events(5, 12), tmp_path / "bundle", name="last", max_steps=9)
    with pytest.raises(UserError, match=r"^max_steps: 4 found, at least 5 expected"):
        find("c").write(network(), events(5, 12), tmp_path / "bundle", name="small", max_steps=4)
    assert not (tmp_path / "bundle").exists()
