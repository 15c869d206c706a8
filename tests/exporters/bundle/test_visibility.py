"""What a sample is said to show of single values is what it shows, and inputs are added until it shows what it can."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.ops.operation import exponent
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import MutationScore, read_bundle
from neurodeploy_exporters.bundle.seal import seal
from neurodeploy_exporters.bundle.states import state_sums
from neurodeploy_exporters.bundle.visibility import CANDIDATES, MOST_INPUTS, chosen, made_of, scores, visible
from neurodeploy_exporters.target import Subject, find
from neurodeploy_exporters.verify import Verification, verify
from neurodeploy_exporters.verify.artefact import read_artefact


def exchanged(graph: Graph, node: ops.Node) -> Graph:
    return Graph(node if one.name == node.name else one for one in graph.nodes)


def recorded(graph: Graph, inputs: np.ndarray) -> dict[str, np.ndarray]:
    tensors = interpreter.run(graph, inputs)
    return interpreter.spikes(graph, tensors) | state_sums(graph, tensors)


def differs(graph: Graph, node: ops.Node, inputs: np.ndarray) -> bool:
    """Whether a network with another node records something else, by running all of it."""
    sound, changed = recorded(graph, inputs), recorded(exchanged(graph, node), inputs)
    return any(not np.array_equal(sound[name], changed[name]) for name in sound)


def moved(node: ops.Weighted, kind: str, place: int, step: float) -> ops.Node:
    value = getattr(node, kind).copy()
    value.reshape(-1)[place] += np.float32(step)
    return replace(node, **{kind: value})


def corner(inputs: np.ndarray) -> np.ndarray:
    """All dark but a pixel in the corner, which no more than four taps of a kernel of 3 × 3 reach."""
    lit = np.zeros_like(inputs)
    lit[..., 0, 0] = 0.5
    return lit


@pytest.fixture(scope="module")
def exact(graph):
    return {kind: to_grid(graph(kind)) for kind in ("conv", "resnet")}


@pytest.mark.parametrize("kind", ["conv", "resnet"])
def test_a_weight_or_bias_is_said_to_show_where_running_the_changed_network_shows_it_and_nowhere_else(exact, digits, kind):
    graph, inputs, rng = exact[kind], corner(digits[0][:2]), np.random.default_rng(0)
    seen = {True: 0, False: 0}
    for one in visible(graph, interpreter.run(graph, inputs)):
        node = graph[one.layer]
        if not isinstance(node, ops.Weighted):
            continue
        said, step = one.shown.any(0), 2.0 ** -exponent(node.weight)
        hidden = np.flatnonzero(~said)
        for group in {*rng.choice(len(said), 3), *hidden[:3]}:
            # a group of weights is what one input channel and tap is multiplied by: take that of any output
            output = int(rng.integers(len(node.weight)))
            place = output * len(said) + group if one.kind == "weight" else group
            assert (
                differs(graph, moved(node, one.kind, int(place), step if one.kind == "weight" else step / 2), inputs)
                == said[group]
            )
            seen[bool(said[group])] += 1
    assert min(seen.values()) > 2


def test_groups_and_strides_of_a_convolution_are_counted_as_it_reads_them():
    rng = np.random.default_rng(0)
    conv = ops.ConvNode(
        name="conv",
        inputs=("input",),
        weight=rng.integers(-3, 4, (4, 2, 3)).astype(np.float32) / 4,
        bias=None,
        stride=(2,),
        padding=(1,),
        dilation=(2,),
        groups=2,
    )
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(4, 7), timed=True),
            conv,
            ops.NeuronNode(name="n", inputs=("conv",), parameters=NeuronParameters(0.5, 1.0, "soft")),
            ops.FlattenNode(name="flat", inputs=("n",)),
            ops.TimeMeanNode(name="mean", inputs=("flat",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    inputs = (rng.random((3, 1, 4, 7)) < 0.08).astype(np.float32)
    (weights,) = (one for one in visible(graph, interpreter.run(graph, inputs)) if one.kind == "weight")
    said = weights.shown.any(0).reshape(2, 2, 3)  # group, channel in it, tap
    assert 0 < said.sum() < said.size
    for output, channel, tap in np.ndindex(4, 2, 3):
        place = int(np.ravel_multi_index((output, channel, tap), conv.weight.shape))
        assert differs(graph, moved(conv, "weight", place, 0.25), inputs) == said[output // 2, channel, tap]
    assert weights.score.tried == weights.score.values == conv.weight.size
    assert weights.score.shown == 2 * said.sum()


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_threshold_shows_where_a_potential_is_just_at_it_and_a_decay_where_one_is_kept(reset):
    def network(decay: float = 0.5) -> Graph:
        return Graph(
            [
                ops.InputNode(name="input", shape=(2,), timed=True),
                ops.NeuronNode(name="n", inputs=("input",), parameters=NeuronParameters(decay, 1.0, reset)),
                ops.TimeMeanNode(name="mean", inputs=("n",)),
                ops.OutputNode(name="logits", inputs=("mean",)),
            ]
        )

    def shown(inputs: np.ndarray) -> dict[str, int]:
        return {one.kind: one.shown for one in scores(network(), interpreter.run(network(), inputs))}

    away, at = np.full((2, 1, 2), 0.75, np.float32), np.array([[[1.0, 0.0]], [[0.0, 0.0]]], np.float32)
    assert shown(away[:1]) == {"threshold": 0, "decay": 0}
    assert shown(at) == {"threshold": 1, "decay": 1}
    assert shown(np.zeros((2, 1, 2), np.float32)) == {"threshold": 0, "decay": 0}


def test_constants_of_a_chip_show_where_running_the_changed_chip_shows_them(bundles):
    artefact = read_artefact(bundles["lava"])
    graph, inputs = artefact.graph, artefact.bundle.sample().inputs
    checked = 0
    for one in visible(graph, interpreter.run(graph, inputs)):
        node = graph[one.layer]
        if isinstance(node, ops.FixedPointNeuronNode) and one.kind == "threshold":
            assert differs(graph, replace(node, threshold=node.threshold + 1), inputs) == one.shown.any()
            checked += 1
        if (
            isinstance(node, ops.ConvNode)
            and one.kind == "bias"
            and isinstance(graph[graph.spiking[-1]], ops.FixedPointNeuronNode)
        ):
            assert one.shown.any(0).all()
    assert checked


def test_a_bit_of_a_head_in_floats_is_less_than_the_tolerance_of_logits(exact, digits):
    found = {(one.layer, one.kind): one for one in scores(exact["conv"], interpreter.run(exact["conv"], digits[0][:2]))}
    head = next(node.name for node in exact["conv"].nodes if isinstance(node, ops.LinearNode))
    assert found[head, "weight"].shown == 0
    assert 0 < found[head, "weight"].tried < found[head, "weight"].values


def share(graph: Graph, inputs: np.ndarray) -> float:
    rated = [one for one in scores(graph, interpreter.run(graph, inputs)) if one.kind == "weight" and one.tried == one.values]
    return sum(one.shown for one in rated) / sum(one.tried for one in rated)


def test_inputs_are_added_that_show_more_and_none_where_nothing_is_left(exact, digits):
    graph, given = exact["conv"], corner(digits[0][:1])
    more = chosen(graph, given, digits[0][1:])
    assert 0 < len(more) <= MOST_INPUTS - 1
    whole = np.concatenate([given, more])
    assert share(graph, whole) > share(graph, given)
    # a sample of all digits that were to be had shows no more than it does
    assert share(graph, whole) >= share(graph, digits[0][: CANDIDATES + 1])
    assert np.array_equal(more, chosen(graph, given, digits[0][1:]))
    assert not len(chosen(graph, whole, digits[0][1:]))


def test_corners_that_no_digit_reaches_are_reached_by_an_input_that_is_made(exact, digits):
    graph, given = exact["conv"], digits[0][:16]
    first = next(node for node in graph.nodes if isinstance(node, ops.Weighted))
    dark = np.zeros_like(given)
    (before,) = (one for one in visible(graph, interpreter.run(graph, dark)) if (one.layer, one.kind) == (first.name, "weight"))
    assert not before.shown.any()
    lit = np.concatenate([dark, chosen(graph, dark, given)])
    (after,) = (one for one in visible(graph, interpreter.run(graph, lit)) if (one.layer, one.kind) == (first.name, "weight"))
    assert after.shown.any(0).all()


def test_a_network_of_which_no_value_is_known_to_show_gets_no_inputs_and_is_tried_value_by_value():
    weight = np.array([[2, 0], [0, 2]], np.float32)
    graph = Graph(
        [
            ops.InputNode(name="input", shape=(2,), timed=True),
            ops.LinearNode(name="fc", inputs=("input",), weight=weight),
            ops.FixedPointNeuronNode(name="n", inputs=("fc",), v_decay=4096, threshold=1, recurrent=np.zeros((2, 2), np.int64)),
            ops.TimeMeanNode(name="mean", inputs=("n",)),
            ops.OutputNode(name="logits", inputs=("mean",)),
        ]
    )
    inputs = np.ones((3, 1, 2), np.float32)
    assert chosen(graph, inputs, inputs).shape == (3, 0, 2)
    (found,) = scores(graph, interpreter.run(graph, inputs))
    assert (found.layer, found.kind, found.values, found.tried) == ("fc", "weight", 4, 4)


def test_values_that_were_tried_alone_stand_for_all_of_their_layer_in_what_is_printed():
    def printed(*scores: MutationScore) -> str:
        return str(Verification({"n": 0}, 1, 0.0, (), shown=scores))

    conv = MutationScore(layer="conv", kind="weight", values=36, tried=36, shown=35)
    head = MutationScore(layer="head", kind="weight", values=1000, tried=10, shown=2)
    assert "as measured at export: weight 35 of 36" in printed(conv)
    text = printed(conv, head)
    assert "as measured at export: weight about 235 of 1,036" in text
    assert "head, weight: 8 of 10 tried ones, of 1,000, show in the sums of constants alone" in text


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_made_has_values_of_the_data_alone_and_is_the_same_each_time(axis):
    data = np.random.default_rng(0).integers(0, 5, (6, 4, 3)).astype(np.float32) / 4
    made = made_of(data, 5, axis)
    assert made.shape == tuple(5 if number == axis else size for number, size in enumerate(data.shape))
    assert {*np.unique(made)} <= {*np.unique(data)}
    assert np.array_equal(made, made_of(data, 5, axis))


@pytest.fixture(scope="module", params=["onnx", "lava", "nir"])
def filled_up(request, graph, digits, tmp_path_factory):
    """Two bundles of one network: with its sample as it was given, and filled up."""
    target, root = find(request.param), tmp_path_factory.mktemp(request.param)
    plain = Subject(graph=graph("conv"), sample_inputs=digits[0][:4], name="n", labels=digits[1][:4].astype(np.int64))
    options = target.options({"quantize": "exact"})
    subjects = {"plain": plain, "more": replace(plain, candidates=digits[0][4:40])}
    return {name: read_bundle(target.export(subject, root / name, options)) for name, subject in subjects.items()}


def test_a_bundle_whose_sample_was_filled_up_verifies_and_says_what_it_shows(filled_up):
    more, plain = filled_up["more"], filled_up["plain"]
    said = more.manifest.sample
    assert said.chosen == said.samples - 4 > 0 == plain.manifest.sample.chosen
    outcome = verify(more)
    assert outcome.passed, outcome.findings
    assert outcome.shown == said.mutations
    assert "one value changed by its smallest step shows by running" in str(outcome)
    assert outcome.as_document()["shown"][0].keys() == {"layer", "kind", "values", "tried", "shown"}
    for before, after in zip(plain.manifest.sample.mutations, said.mutations, strict=True):
        assert (before.layer, before.kind, before.values) == (after.layer, after.kind, after.values)
        assert before.shown <= after.shown


def test_what_is_counted_is_counted_on_the_inputs_that_were_given(filled_up):
    more, plain = filled_up["more"], filled_up["plain"]
    assert np.array_equal(more.given().inputs, plain.sample().inputs)
    assert all(np.array_equal(more.given().spikes[layer], spikes) for layer, spikes in plain.sample().spikes.items())
    assert more.manifest.head_cut == plain.manifest.head_cut
    assert more.manifest.input_grid == plain.manifest.input_grid
    assert more.manifest.sample.correct == plain.manifest.sample.correct
    assert more.manifest.accuracy == plain.manifest.accuracy


def test_float_networks_get_no_more_inputs_and_no_score(graph, digits, tmp_path):
    target = find("onnx")
    subject = Subject(graph=graph("conv"), sample_inputs=digits[0][:4], name="n", candidates=digits[0][4:20])
    said = read_bundle(target.export(subject, tmp_path / "b", target.options({}))).manifest.sample
    assert (said.samples, said.chosen, said.mutations) == (4, 0, ())
    content = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert not {"chosen", "mutations"} & content["sample"].keys()


def _claimed(folder, change) -> str:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content["sample"])
    path.write_text(json.dumps(content))
    seal(folder)
    try:
        return " | ".join(verify(folder).findings)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layer", "conv9", "sample.mutations: layer 'conv9' found, which is in no file of the bundle"),
        ("shown", 10**6, r"shown: 1000000 found, 0 to \d+ expected \(tried\)"),
        ("values", 10**6, r"sample.mutations: \S+, weight: 1,000,000 found, \d+ as in the file expected"),
        ("kind", "sound", "sample.mutations.0.kind"),
    ],
)
def test_a_score_that_cannot_be_is_refused(bundle, field, value, message):
    def change(sample):
        sample["mutations"][0][field] = value

    assert re.search(message, _claimed(bundle("onnx"), change))


def test_a_score_said_twice_or_more_chosen_inputs_than_there_are_is_refused(bundle):
    assert "found twice" in _claimed(bundle("onnx"), lambda sample: sample["mutations"].append(sample["mutations"][0]))
    assert "chosen: 99 found, 0 to 6 expected (samples)" in _claimed(bundle("lava"), lambda sample: sample.update(chosen=99))
