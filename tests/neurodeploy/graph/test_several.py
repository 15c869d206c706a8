"""Networks that take several tensors, or answer several: traced, compared, run as graphs and in torch, exported and counted."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.dynamics import layers
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.agreement import check_agreement
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import chosen, trace
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.onnx.runtime import Session

STEPS = 5


class TwoHeads(nn.Module):
    """Leaky neurons in a loop, an image and a vector of facts → class and box; `form` says how it answers."""

    def __init__(self, form: Any = dict, *, facts: bool = True) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.form, self.facts = form, facts
        self.conv, self.beside, self.join = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(5, 16), nn.Linear(4 * 36, 16)
        self.kind, self.box = nn.Linear(16, 3), nn.Linear(16, 4)

    def forward(self, image: Tensor, extra: Tensor | None = None) -> Any:
        v, w = torch.zeros(len(image), 4, 6, 6), torch.zeros(len(image), 16)
        kinds, boxes = [], []
        for _ in range(STEPS):
            v = 0.5 * v + 2 * self.conv(image)
            spikes = (v > 0.3).float()
            v = v * (1 - spikes)
            w = 0.5 * w + self.join(spikes.flatten(1))
            if extra is not None:
                w = w + self.beside(extra)
            fired = (w > 0.2).float()
            w = w - 0.2 * fired
            kinds.append(self.kind(fired))
            boxes.append(self.box(fired))
        kind, box = torch.stack(kinds).mean(0), torch.stack(boxes).mean(0)
        return {"class": kind, "box": box} if self.form is dict else self.form((kind, box))


def given(seed: int = 0, count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 6, 6, generator=generator), torch.rand(count, 5, generator=generator)


def test_every_answer_is_the_module_s_in_the_graph_in_torch_and_in_the_interpreter():
    network, x = TwoHeads(), given()
    model = nd.deploy(network, x)
    graph = model.graph
    assert graph is not None
    assert [(node.name, node.shape) for node in graph.inputs] == [("image", (1, 6, 6)), ("extra", (5,))]
    assert [(node.name, graph.shape(node.name)) for node in graph.outputs] == [("class", (3,)), ("answer.box", (4,))]
    other = given(1)
    with torch.no_grad():
        expected = network(*other)
        run = interpreter.run(graph, {"image": other[0].numpy(), "extra": other[1].numpy()})
        made = model.module(*other)
    for name, node, tensor in zip(expected, graph.outputs, made, strict=True):
        torch.testing.assert_close(tensor, expected[name])
        np.testing.assert_allclose(run[node.name], expected[name], atol=1e-5)
    assert all(run[layer].any() for layer in graph.spiking)
    assert model.statements == ()


@pytest.mark.parametrize("form", [tuple, list, lambda both: [both[0], [both[1]]]])
def test_tuples_and_lists_of_any_depth_are_answers_by_number(form):
    graph = nd.deploy(TwoHeads(form), given()).graph
    assert graph is not None
    names = [node.name for node in graph.outputs]
    assert names[0] == "answer0"
    assert names[1] in ("answer1", "answer1.0")


@pytest.mark.parametrize(
    ("answer", "names", "sizes"),
    [("box", ["logits"], [4]), (0, ["logits"], [3]), ([1, "class"], ["answer.box", "class"], [4, 3])],
)
def test_one_or_several_are_chosen_and_what_is_left_out_is_said(answer, names, sizes):
    model = nd.deploy(TwoHeads(), given(), answer=answer)
    assert model.graph is not None
    assert [node.name for node in model.graph.outputs] == names
    assert [model.graph.shape(node.name)[0] for node in model.graph.outputs] == sizes
    assert len(model.statements) == (len(names) == 1)
    assert all("leaves out" in statement and "as was chosen" in statement for statement in model.statements)
    made, expected = model.module(*given(2)), list(TwoHeads()(*given(2)).values())
    made = made if isinstance(made, tuple) else (made,)
    assert [one.shape[1] for one in made] == sizes
    torch.testing.assert_close(made[0], next(one for one in expected if one.shape[1] == sizes[0]))


@pytest.mark.parametrize("answer", [2, "boxes", [], [0, 0]])
def test_a_choice_that_the_module_does_not_answer_is_refused(answer):
    with pytest.raises(UserError, match=r"answer: .* found.*0 \(class\), 1 \(box\)"):
        nd.deploy(TwoHeads(), given(), answer=answer)


class Pair(nn.Module):
    """As snnTorch's networks answer: the spikes of every step, and the potentials."""

    def __init__(self, *, sums: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.linear, self.sums = nn.Linear(4, 3), sums

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        v, spikes, potentials = torch.zeros(len(x), 3), [], []
        for _ in range(STEPS):
            v = 0.9 * v + self.linear(x)
            s = (v > 0.4).float()
            v = v - 0.4 * s
            spikes.append(s)
            potentials.append(v)
        fired = torch.stack(spikes)
        return fired.sum(0) if self.sums else fired, torch.stack(potentials)


def test_of_spikes_and_states_the_spikes_are_the_answer_and_that_is_said():
    x = torch.rand(5, 4)
    model = nd.deploy(Pair(), x)
    assert model.graph is not None
    assert [node.name for node in model.graph.outputs] == ["logits"]
    (statement,) = model.statements
    assert statement.startswith("leaves out answer1 of what the network answers")
    assert "taken for states" in statement
    assert "answer=" in str(model)
    torch.testing.assert_close(model.module(x), Pair()(x)[0].mean(0))


@pytest.mark.parametrize("answer", [1, None])
def test_a_state_that_is_asked_for_is_answered_and_never_replaced_by_the_spikes(answer):
    x = torch.rand(5, 4)
    model = nd.deploy(Pair(sums=answer is None), x, answer=answer)
    made = model.module(2 * x)
    fired, potentials = Pair(sums=True)(2 * x)
    if answer is None:
        torch.testing.assert_close(made[0], fired)
    torch.testing.assert_close(made if answer else made[1], potentials.mean(0))


class HandsBack(Pair):
    """As recurrent layers and Norse's networks answer: `output, states`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:  # type: ignore[override]
        fired, potentials = super().forward(x)
        return fired, [None, (potentials[-1], x)]


def test_states_that_are_handed_back_are_no_answers():
    x = torch.rand(5, 4)
    model = nd.deploy(HandsBack(), x)
    torch.testing.assert_close(model.module(x), Pair()(x)[0].mean(0))
    (statement,) = model.statements
    assert "leaves out answer1.1.0, answer1.1.1" in statement
    assert "states of its neurons" in statement


class Sorted(Pair):
    """Its second tensor is made by a function that has no form in a graph."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fired, _ = super().forward(x)
        return fired.sum(0), torch.sort(x).values


def test_where_another_answer_has_no_form_the_first_alone_is_and_that_is_said():
    x = torch.rand(5, 4)
    model = nd.deploy(Sorted(), x)
    (statement,) = model.statements
    assert "leaves out answer1" in statement
    assert "sort" in statement
    torch.testing.assert_close(model.module(x), Sorted()(x)[0])
    with pytest.raises(UserError, match="has no form in a graph"):
        nd.deploy(Sorted(), x, answer=1)


class Sequences(nn.Module):
    """Layers of the toolkit: two sequences `[T, B, N]`, two answers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.left, self.right = nn.Linear(4, 6), nn.Linear(3, 6)
        self.neurons, self.mean = layers.LIF(0.5), layers.TimeMean()
        self.one, self.other = nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        fired = self.neurons(self.left(left) + self.right(right))
        return self.mean(self.one(fired)), self.mean(self.other(fired))


def sequences(count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(7, count, 4, generator=generator) * 3, torch.rand(7, count, 3, generator=generator) * 3


def test_two_sequences_are_traced_compared_exported_and_verified(tmp_path):
    network, x = Sequences(), sequences()
    model = nd.deploy(network, x, batch_axis=1)
    bundle = nd.export(model, "onnx", tmp_path / "b")
    assert bundle.manifest.input_names == ("left", "right")
    assert bundle.manifest.timed_input
    check = nd.verify(bundle)
    assert check.passed, check
    assert check.spikes_compared > 0
    report = nd.energy(model)
    assert [row.name for row in report.layers if row.kind == "neuron"] == ["neurons"]
    assert report.layer("one").sops == report.layer("neurons").spikes * 2


def test_a_bundle_runs_under_the_names_of_inputs_and_answers_and_a_change_of_any_answer_is_found(tmp_path):
    network, x = TwoHeads(), given()
    bundle = nd.export(nd.deploy(network, x), "onnx", tmp_path / "b", samples=4)
    manifest = bundle.manifest
    assert manifest.output_names == ("class", "answer.box")
    assert manifest.module is not None
    assert manifest.module.differing_spikes == 0
    assert {piece.name for piece in manifest.pieces} == {"whole", "encoder", "body", "head"}
    check = nd.verify(bundle)
    assert check.passed, check
    session, other = Session(bundle.path("whole.onnx")), given(5)
    made = session.run({"image": other[0].numpy(), "extra": other[1].numpy()}, steps=STEPS)
    expected = network(*other)
    np.testing.assert_allclose(made["answer.box"], expected["box"].detach(), atol=1e-5)
    np.testing.assert_allclose(made["class"], expected["class"].detach(), atol=1e-5)
    arrays = dict(np.load(bundle.path("sample.npz")))
    arrays["answers/answer.box"] = arrays["answers/answer.box"] + 1
    np.savez(bundle.path("sample.npz"), **arrays)
    assert any("logits differ from the sample by up to 1" in finding for finding in nd.verify(bundle).findings)
    arrays["inputs/extra"] = arrays["inputs/extra"][:, :4]
    np.savez(bundle.path("sample.npz"), **arrays)
    assert any("inputs extra: shape (4, 4) found, shape (4, 5) expected" in finding for finding in nd.verify(bundle).findings)


def test_a_bundle_of_several_answers_and_one_input_is_counted_as_its_model(tmp_path):
    x = given()[0]
    model = nd.deploy(TwoHeads(facts=False), x)
    bundle = nd.export(model, "onnx", tmp_path / "b")
    own, read = nd.energy(model), nd.energy(bundle)
    assert own.total.spikes == read.total.spikes > 0
    assert own.total.sops == pytest.approx(read.total.sops)


@pytest.mark.parametrize("target", ["lava", "nir"])
def test_targets_of_one_input_and_one_answer_refuse_by_name(tmp_path, target):
    both = nd.deploy(TwoHeads(), given())
    with pytest.raises(
        UserError, match=rf"target {target}: .* 2 answers found \(class, answer.box\); choose one with .*answer='class'"
    ):
        nd.export(both, target, tmp_path / "b")
    one = nd.deploy(TwoHeads(), given(), answer="class")
    with pytest.raises(UserError, match=rf"target {target}: .* 2 inputs found \(image, extra\)"):
        nd.export(one, target, tmp_path / "b")
    single = nd.deploy(TwoHeads(), given()[0], answer="class")
    if target == "nir":  # a body of standard neurons
        assert nd.verify(nd.export(single, target, tmp_path / "b")).passed
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("options", "message"), [({"quantize": "exact"}, 'quantize: "exact"'), ({"streaming": True}, "streaming: found")]
)
def test_options_of_one_input_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        nd.export(nd.deploy(TwoHeads(), given()), "onnx", tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_a_wrong_number_of_inputs_is_refused_and_says_which_are_missing():
    class Needs(TwoHeads):
        def forward(self, image: Tensor, extra: Tensor) -> Any:  # type: ignore[override]
            return super().forward(image, extra)

    with pytest.raises(UserError, match=r"takes a second input, extra, and samples of 1 are given; give nd.deploy a tuple"):
        nd.deploy(Needs(), given()[0])
    with pytest.raises(UserError, match="takes 2 inputs, and samples of 3 are given"):
        nd.deploy(Needs(), (*given(), given()[1]))
    with pytest.raises(UserError, match=r"samples: extra has \(5,\) first, 6 samples as in the others expected"):
        nd.deploy(Needs(), (given()[0], given()[1][:5]))
    with pytest.raises(UserError, match="samples: 6, 5 found for the inputs, as many of each expected"):
        nd.energy(Needs(), (given()[0], given()[1][:5]))


def test_who_asks_for_the_one_input_or_answer_of_several_is_told():
    graph = trace(TwoHeads(), [(1, 6, 6), (5,)])
    assert isinstance(graph, Graph)
    with pytest.raises(UserError, match=r"2 inputs found \(image, extra\), one expected here"):
        _ = graph.input
    with pytest.raises(UserError, match=r"2 answers found \(class, answer.box\), one expected here"):
        _ = graph.output
    with pytest.raises(UserError, match="1 inputs found, 2 expected: image, extra"):
        GraphModule(graph)(torch.zeros(1, 1, 6, 6))
    with pytest.raises(UserError, match="extra: missing"):
        interpreter.run(graph, {"image": np.zeros((1, 1, 6, 6), np.float32)})
    with pytest.raises(UserError, match="graph: 0 Output nodes found"):
        Graph(node for node in graph.nodes if not isinstance(node, ops.OutputNode))


def test_another_second_head_is_found_by_the_comparison():
    network = TwoHeads()
    graph = trace(network, [(1, 6, 6), (5,)])
    with torch.no_grad():
        network.box.weight += 0.25
    with pytest.raises(UserError, match="node box: field weight differs"):
        check_agreement(network, graph, given(), chosen(network, batch_axis=0, time_axis=None, steps=None))
