"""Modules that loop over time steps, in many people's ways: each becomes a graph that fires the same spikes, or is refused."""

from collections import namedtuple
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import neurodeploy as nd
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.io.errors import UserError

STEPS = 8


class Linears(nn.Module):
    """Two linear layers; what is between them is written below."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 12), nn.Linear(12, 4)


class AdaptiveThreshold(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential, adaptation, total = torch.zeros(len(x), 12), torch.zeros(len(x), 12), 0
        for _ in range(STEPS):
            potential = 0.9 * potential + self.first(x)
            threshold = 0.4 + 0.3 * adaptation
            spikes = (potential > threshold).float()
            adaptation = 0.95 * adaptation + spikes
            potential = potential - spikes * threshold
            total = total + self.second(spikes)
        return total


class WhileAndTuple(Linears):
    def step(self, x, state):
        potential = state[0] * 0.8 + self.first(x)
        spikes = functional.relu(torch.sign(potential - 0.3))
        return spikes, (potential * (1 - spikes), None)

    def forward(self, x: Tensor) -> Tensor:
        state, answers, t = (0.0, None), [], 0
        while t < x.shape[0]:
            spikes, state = self.step(x[t], state)
            answers.append(self.second(spikes))
            t += 1
        return torch.stack(answers).sum(0)


class RecurrentMatrix(Linears):
    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Parameter(torch.randn(12, 12) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = potential = torch.zeros(x.shape[1], 12)
        answers = []
        for step in x:
            potential = 0.7 * potential * (1 - spikes) + self.first(step) + spikes @ self.back
            spikes = torch.heaviside(potential - 0.3, torch.tensor(0.0))
            answers.append(spikes)
        return self.second(torch.stack(answers)).mean(0)


class InPlace(Linears):
    def forward(self, x: Tensor) -> Tensor:
        one, two, counts = torch.zeros(len(x), 12), torch.zeros(len(x), 4), torch.zeros(len(x), 4)
        for _ in range(STEPS):
            one.mul_(0.9).add_(self.first(x))
            fired = one.ge(0.5)
            one.masked_fill_(fired, 0.0)
            two.mul_(0.9).add_(self.second(fired.float()))
            fired = two.gt(0.2).float()
            two.sub_(0.2 * fired)
            counts += fired
        return counts / STEPS


State = namedtuple("State", "potential current")


class NamedState(Linears):
    def forward(self, x: Tensor) -> Tensor:
        state, answers = State(x.new_zeros(len(x), 12), x.new_zeros(len(x), 12)), []
        for _ in range(STEPS):
            current = state.current * 0.7 + self.first(x)
            potential = state.potential + 0.1 * (current - state.potential)
            spikes = (potential > 0.1) * 1.0
            state = State((1 - spikes) * potential, current)
            answers.append(spikes[None])
        return self.second(torch.cat(answers, 0)).mean(0)


class PreviousInput(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential, before, answers = 0, torch.zeros_like(x[0]), []
        for t in range(len(x)):
            potential = potential * 0.9 + self.first(x[t] + 0.5 * before)
            before = x[t]
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes
            answers.append(self.second(spikes))
        return torch.stack(answers).mean(0)


class LastPotential(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential = read = 0
        for _ in range(STEPS):
            potential = potential * 0.9 + self.first(x)
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes
            read = 0.8 * read + self.second(spikes)
        return read


class DictionaryAnswer(Linears):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        state, total = {"hidden": torch.zeros(len(x), 12)}, 0
        for _ in range(STEPS):
            state["hidden"] = 0.9 * state["hidden"] + self.first(x)
            spikes = (state["hidden"] >= 0.5).type_as(x)
            state["hidden"] = state["hidden"] - 0.5 * spikes
            total += self.second(spikes)
        return {"logits": total / STEPS, "total": total}


class Refractory(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential, waiting, total = torch.zeros(len(x), 12), torch.zeros(len(x), 12), 0
        for _ in range(STEPS):
            active = (waiting <= 0).float()
            potential = torch.where(waiting > 0, potential, potential * 0.9 + self.first(x))
            spikes = (potential > 0.3).float() * active
            potential = potential * (1 - spikes)
            waiting = torch.clamp(waiting - 1, min=0) + 2 * spikes
            total = total + self.second(spikes)
        return total


class Answers(Linears):
    """Its subclasses read the list of what each step made in different ways."""

    def steps(self, x: Tensor) -> list[Tensor]:
        potential, answers = 0, []
        for _ in range(STEPS):
            potential = potential * 0.9 + self.first(x)
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes
            answers.append(self.second(spikes))
        return answers


class LaterSteps(Answers):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.steps(x)[STEPS // 2 :]).mean(0)


class Reduced(Answers):
    def forward(self, x: Tensor) -> Tensor:
        return reduce(lambda one, other: one + other, self.steps(x)) / STEPS


class Summed(Answers):
    def forward(self, x: Tensor) -> Tensor:
        answers = self.steps(x)
        return sum(answers) / len(answers)


class StackedBehind(Answers):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(self.steps(x), dim=1).mean(1)


class SeveralSpikes(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential, total = torch.zeros(len(x), 12), 0
        for _ in range(STEPS):
            potential = potential + self.first(x)
            spikes = torch.clamp(torch.floor(potential / 0.2), 0, 3)
            potential = potential - 0.2 * spikes
            total = total + self.second(spikes)
        return total / STEPS


class FirstStepBefore(Linears):
    """The first step stands before the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()

    def forward(self, x: Tensor) -> Tensor:
        self.cell.potential = None
        total = self.second(self.cell(self.first(x)))
        for _ in range(1, STEPS):
            total = total + self.second(self.cell(self.first(x)))
        return total / STEPS


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.potential: Tensor | None = None

    def forward(self, current: Tensor) -> Tensor:
        if self.potential is None:
            self.potential = torch.zeros_like(current)
        self.potential = self.potential + (current - self.potential) / 2.0
        spikes = (self.potential >= 0.25).to(current)
        self.potential = self.potential * (1 - spikes)
        return spikes


class RecurrentConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.forth, self.back = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        potential = spikes = torch.zeros(len(x), 3, 4, 4)
        total = 0
        for _ in range(STEPS):
            potential = potential * 0.9 + self.forth(x) + self.back(spikes)
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes
            total = total + self.last(spikes.flatten(1))
        return total


class LayersInLists(nn.Module):
    """States of several layers in a list; a loop over layers within that over time; written into a tensor made before."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 10), nn.Linear(10, 10), nn.Linear(10, 4)])

    def forward(self, x: Tensor) -> Tensor:
        potentials = [torch.zeros(x.shape[1], layer.out_features) for layer in self.layers]
        out = torch.zeros(x.shape[0], x.shape[1], 4)
        for t in range(x.shape[0]):
            spikes = x[t]
            for number, layer in enumerate(self.layers):
                potentials[number] = 0.5 * potentials[number] + layer(spikes)
                spikes = (potentials[number] > 0.2).float()
                potentials[number] = potentials[number] * (1.0 - spikes)
            out[t] = spikes
        return out.mean(0)


class LayersAroundTime(nn.Module):
    """A loop over layers, and within it one over time; states begin as plain numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(shape) * 0.6) for shape in ((10, 6), (10, 10), (4, 10))])

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            potential, spikes = 0.0, []
            for current in functional.linear(x, weight).unbind(0):
                potential = 0.5 * potential + current
                spikes.append((potential > 0.2).float())
                potential = potential - 0.2 * spikes[-1]
            x = torch.stack(spikes)
        return x.mean(0)


SEQUENCES = (LayersAroundTime, WhileAndTuple, RecurrentMatrix, PreviousInput, LayersInLists)
FOLLOWED = (
    *(AdaptiveThreshold, InPlace, NamedState, LastPotential, DictionaryAnswer, Refractory, LaterSteps, Reduced, Summed),
    *(StackedBehind, SeveralSpikes, FirstStepBefore, RecurrentConvolution, *SEQUENCES),
)


def network_and_samples(kind: type[nn.Module]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    network = kind().eval()
    shape = (STEPS, 5, 6) if kind in SEQUENCES else (5, 1, 4, 4) if kind is RecurrentConvolution else (5, 6)
    return network, torch.rand(*shape)


def deployed(kind: type[nn.Module]) -> tuple[nn.Module, Tensor, nd.Model]:
    network, x = network_and_samples(kind)
    return network, x, nd.deploy(network, x, batch_axis=int(kind in SEQUENCES))


@pytest.mark.parametrize("kind", FOLLOWED)
def test_a_loop_becomes_layers_that_answer_what_it_answers(kind):
    network, x, model = deployed(kind)
    with torch.no_grad():
        answer = network(x)
    expected = answer["logits"] if isinstance(answer, dict) else answer
    assert model.graph is not None
    found = interpreter.run(model.graph, x.numpy())
    np.testing.assert_allclose(found[model.graph.output.name], expected.numpy(), atol=1e-5)
    assert all(found[layer].mean() > 0 for layer in model.graph.spiking)
    assert model.graph.spiking


@pytest.mark.parametrize("kind", FOLLOWED)
def test_its_onnx_export_is_verified(kind, tmp_path):
    pytest.importorskip("onnxruntime")
    *_, model = deployed(kind)
    assert nd.verify(nd.export(model, "onnx", tmp_path / "bundle")).passed


def test_a_static_current_is_computed_once_and_repeated():
    *_, model = deployed(LaterSteps)
    assert model.graph is not None
    assert not model.graph.timed("first")
    assert [node.steps for node in model.graph.of(ops.EncodeNode)] == [STEPS]


def test_what_is_read_a_step_later_is_a_delay_of_one_step():
    *_, model = deployed(PreviousInput)
    assert model.graph is not None
    assert [node.steps for node in model.graph.of(ops.DelayNode)] == [1]


def test_the_later_steps_alone_are_averaged_where_the_module_does():
    *_, model = deployed(LaterSteps)
    assert model.graph is not None
    assert [node.skip for node in model.graph.of(ops.TimeMeanNode)] == [STEPS // 2]


class Random(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential = total = 0
        for _ in range(STEPS):
            potential = potential + self.first((torch.rand_like(x) < x).float())
            spikes = (potential > 0.5).float()
            potential = potential - 0.5 * spikes
            total = total + self.second(spikes)
        return total


class ChangingLeak(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential = total = 0
        for t in range(STEPS):
            potential = potential * 0.9**t + self.first(x)
            spikes = (potential > 0.5).float()
            potential = potential - 0.5 * spikes
            total = total + self.second(spikes)
        return total


class Branching(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential = total = 0
        for _ in range(STEPS):
            potential = potential * 0.9 + self.first(x)
            spikes = (potential > 0.3).float()
            if spikes.sum() > 3:
                potential = potential - 0.3 * spikes
            total = total + self.second(spikes)
        return total


class Comparing(Linears):
    """Asks by a function that answers a truth value, and no tensor."""

    def forward(self, x: Tensor) -> Tensor:
        potential = total = 0
        for _ in range(STEPS):
            potential = potential * 0.9 + self.first(x)
            spikes = (potential > 0.3).float()
            if torch.allclose(spikes, torch.ones_like(spikes)):
                spikes = spikes * 0
            potential = potential - 0.3 * spikes
            total = total + self.second(spikes)
        return total


class WinnerTakesAll(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential = total = 0
        for _ in range(STEPS):
            potential = potential * 0.9 + self.first(x)
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes - 0.1 * spikes.sum(1, keepdim=True)
            total = total + self.second(spikes)
        return total


class AroundTwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        one = two = back = torch.zeros(len(x), 12)
        total = 0
        for _ in range(STEPS):
            one = 0.9 * one + self.a(x) + 0.2 * back
            spikes = (one > 0.5).float()
            one = one * (1 - spikes)
            two = 0.9 * two + self.b(spikes)
            back = (two > 0.5).float()
            two = two * (1 - back)
            total = total + self.c(back)
        return total / STEPS


class OtherFirstStep(Linears):
    """Begins with its first current whole, and not with the share of it that it adds later."""

    def forward(self, x: Tensor) -> Tensor:
        potential, total = None, 0
        for _ in range(STEPS):
            current = self.first(x)
            potential = current if potential is None else potential + (current - potential) / 2
            spikes = (potential > 0.2).float()
            potential = potential * (1 - spikes)
            total = total + self.second(spikes)
        return total


class Backwards(Linears):
    def forward(self, x: Tensor) -> Tensor:
        potential, answers = 0, []
        for t in reversed(range(len(x))):
            potential = potential * 0.9 + self.first(x[t])
            spikes = (potential > 0.3).float()
            potential = potential - 0.3 * spikes
            answers.append(self.second(spikes))
        return torch.stack(answers).mean(0)


class SingleStep(Linears):
    def forward(self, x: Tensor) -> Tensor:
        return self.second((self.first(x) > 0.2).float())


REFUSED = (
    (Random, "rand_like in Random: .*random"),
    (ChangingLeak, "mul in ChangingLeak: computes with a number that differs from step to step"),
    (Branching, "__bool__ in Branching: the forward reads values of its samples"),
    (Comparing, "allclose in Comparing: the forward reads values of its samples"),
    (WinnerTakesAll, "sum in WinnerTakesAll: is part of what reads its own past, and computes not value by value"),
    (AroundTwoLayers, r"layer b \(torch.nn.modules.linear.Linear\): is on a way back through several layers"),
    (OtherFirstStep, "layer neuron: step 0, .* the layer computes something that the graph has not"),
    (Backwards, r"takes the steps \[7, 6, 5, 4\]… of a sequence of 8; each in order expected"),
    (SingleStep, "gt in SingleStep: .* outside of any loop over time: .* steps=…"),
)


@pytest.mark.parametrize(("kind", "message"), REFUSED)
def test_what_a_graph_cannot_hold_is_refused_by_name(kind, message):
    network, x = network_and_samples(kind)
    x = torch.rand(STEPS, 5, 6) if kind is Backwards else x
    with pytest.raises(UserError, match=message):
        nd.deploy(network, x, batch_axis=int(kind is Backwards))


class OneStep(Linears):
    """Computes one step in a call, and keeps its state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = Cell()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.cell(self.first(x)))


class HandsOn(Linears):
    """Computes one step in a call, and answers its state."""

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        potential = (0 if state is None else 0.9 * state) + self.first(x)
        spikes = (potential > 0.4).float()
        return self.second(spikes), potential - 0.4 * spikes


@pytest.mark.parametrize("sequence", [False, True])
def test_a_module_that_computes_one_step_is_called_for_each(sequence):
    torch.manual_seed(2)
    x = torch.rand(STEPS, 5, 6) if sequence else torch.rand(5, 6)
    network, state, answers = HandsOn(), None, []
    with torch.no_grad():
        for t in range(STEPS):
            answer, state = network(x[t] if sequence else x, state)
            answers.append(answer)
    model = nd.deploy(network, x, steps=STEPS, batch_axis=int(sequence))
    assert model.graph is not None
    found = interpreter.run(model.graph, x.numpy())[model.graph.output.name]
    np.testing.assert_allclose(found, torch.stack(answers).mean(0).numpy(), atol=1e-5)


def test_a_state_in_a_module_that_is_called_for_each_step_begins_anew():
    torch.manual_seed(2)
    network, x = OneStep(), torch.rand(5, 6)
    first = nd.deploy(network, x, steps=STEPS).graph
    second = nd.deploy(network, x, steps=STEPS).graph
    assert first is not None
    assert second is not None
    assert network.cell.potential is None
    assert np.array_equal(interpreter.run(first, x.numpy())["cell"], interpreter.run(second, x.numpy())["cell"])


def test_a_state_left_over_is_refused():
    torch.manual_seed(2)
    network, x = OneStep(), torch.rand(5, 6)
    with torch.no_grad():
        network(x)
    with pytest.raises(UserError, match="cell"):
        nd.deploy(network, x, steps=STEPS)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"batch_axis": 2}, "batch_axis, time_axis: 2 and None found"),
        ({"time_axis": 2}, "batch_axis, time_axis: 0 and 2 found"),
        ({"steps": 0}, "steps: 0 found, 1 or more expected"),
        ({"steps": 3, "batch_axis": 1}, "steps: 3 found, 8 expected"),
    ],
)
def test_axes_and_steps_that_no_module_has_are_refused(axes, message):
    with pytest.raises(UserError, match=message):
        nd.deploy(OneStep(), torch.rand(STEPS, 5, 6), **axes)


def spikes_of(graph: Graph | None, x: Tensor) -> list[np.ndarray]:
    assert graph is not None
    tensors = interpreter.run(graph, x.numpy())
    return [tensors[layer] for layer in graph.spiking]


CHARGES = {
    "product": lambda v, current: 0.5 * v + current,
    "quotient": lambda v, current: v / 2 + current,
    "difference": lambda v, current: v - v * 0.5 + current,
}
FIRES = {
    "gt": lambda v: (v > 0.25).float(),
    "difference": lambda v: (v - 0.25 > 0).to(v.dtype),
    "less": lambda v: torch.lt(torch.tensor(0.25), v).float(),
    "not le": lambda v: (~(v <= 0.25)).float(),
    "where": lambda v: torch.where(v > 0.25, torch.ones_like(v), torch.zeros_like(v)),
}


def masked(potential: Tensor, spikes: Tensor) -> Tensor:
    potential = potential.clone()
    potential[spikes > 0] = 0.0
    return potential


RESETS = {
    "product": lambda v, spikes: v * (1 - spikes),
    "difference": lambda v, spikes: v - v * spikes,
    "where": lambda v, spikes: torch.where(spikes.bool(), torch.zeros_like(v), v),
    "fill": lambda v, spikes: v.masked_fill(spikes.bool(), 0.0),
    "mask": masked,
}


class Written(Linears):
    """One LIF layer, whose parts are written in one of several ways."""

    def __init__(self, charge: str, fire: str, reset: str, gather: str) -> None:
        super().__init__()
        self.charge, self.fire, self.reset, self.gather = CHARGES[charge], FIRES[fire], RESETS[reset], gather

    def forward(self, x: Tensor) -> Tensor:
        potential, kept, out = torch.zeros(x.shape[1], 12), [], torch.zeros(x.shape[0], x.shape[1], 12)
        for t in range(x.shape[0]):
            potential = self.charge(potential, self.first(x[t]))
            spikes = self.fire(potential)
            potential = self.reset(potential, spikes)
            out[t] = spikes
            kept.append(spikes)
        return self.second((out if self.gather == "tensor" else torch.stack(kept)).mean(0))


@settings(max_examples=40, deadline=None)
@given(*(st.sampled_from(sorted(ways)) for ways in (CHARGES, FIRES, RESETS)), st.sampled_from(["tensor", "list"]))
def test_one_neuron_fires_the_same_spikes_however_it_is_written(charge, fire, reset, gather):
    torch.manual_seed(4)
    reference = Written("product", "gt", "product", "list")
    network = Written(charge, fire, reset, gather)
    network.load_state_dict(reference.state_dict())
    x = torch.randint(0, 2, (STEPS, 3, 6)).float()
    one, other = (nd.deploy(module, x, batch_axis=1).graph for module in (reference, network))
    (expected,), (found,) = spikes_of(one, x), spikes_of(other, x)
    assert expected.mean() > 0
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", [AdaptiveThreshold, RecurrentMatrix])
def test_its_energy_is_counted_without_deploying_it_first(kind):
    network, x, model = deployed(kind)
    sequence = kind in SEQUENCES
    counted = nd.energy(network, x, batch_axis=int(sequence))
    expected = nd.energy(model, x.transpose(0, 1) if sequence else x)
    assert counted.total.spikes > 0
    assert [(row.kind, row.spikes, row.sops) for row in counted.layers] == [
        (row.kind, row.spikes, row.sops) for row in expected.layers
    ]
