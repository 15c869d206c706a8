"""Modules of every kind of axes, whose taps are compared with what the layers are seen to answer one by one."""

import pytest
import torch
from torch import Tensor, nn

import neurodeploy as nd
from neurodeploy.io.errors import UserError
from neurodeploy.networks import NetworkOutput
from neurodeploy.training import ask
from neurodeploy.training.examination import Names, observed
from neurodeploy.training.teacher import frozen

SAMPLES = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
STEPS = 3


class Residual(nn.Module):
    """One ReLU object for two layers, changed in place, and a head behind a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.again = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.relu(self.again(x) + x)
        return self.head(x.mean((2, 3)))


class Steps(nn.Module):
    """A loop over time around layers of one step; answers for each step."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.relu, self.head = nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        potential, answers = 0.0, []
        for _ in range(STEPS):
            potential = 0.5 * potential + self.inner(x.flatten(1))
            answers.append(self.head(self.relu(potential)))
        return torch.stack(answers)


class WholeSequence(nn.Module):
    """Time is the first axis of what its layers see; the mean over it is the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.lif, self.head = nn.Linear(16, 6), nd.LIF(decay=0.5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.inner(x.flatten(1)).expand(STEPS, -1, -1) * 3)
        return self.head(spikes).mean(0)


class Folded(nn.Module):
    """Time and batch in one axis for its convolution, in the order that `faster` says."""

    def __init__(self, faster: str) -> None:
        super().__init__()
        self.faster = faster
        self.conv, self.relu, self.head = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.stack([x * (t + 1) for t in range(STEPS)], 0 if self.faster == "batch" else 1)
        axes = steps.shape[:2]
        x = self.relu(self.conv(steps.flatten(0, 1))).unflatten(0, axes).flatten(2)
        return self.head(x if self.faster == "batch" else x.transpose(0, 1))


@pytest.mark.parametrize(
    ("module", "steps", "taps"),
    [
        (Residual, 1, {"relu": (4, 4, 4), "relu#2": (4, 4, 4)}),
        (Steps, STEPS, {"relu": (6,)}),
        (WholeSequence, STEPS, {"lif": (6,)}),
        (lambda: Folded("batch"), STEPS, {"relu": (2, 2, 2)}),
        (lambda: Folded("time"), STEPS, {"relu": (2, 2, 2)}),
    ],
)
def test_what_layers_answer_comes_as_time_batch_and_the_rest(module, steps, taps):
    torch.manual_seed(0)
    network = module().eval()
    plain = network(SAMPLES)
    with observed(network, SAMPLES, what="student") as seen:
        output = seen(SAMPLES)
        assert seen.taps == tuple(taps)
        assert seen.classes == 3
        for name, shape in taps.items():
            assert output.taps[name].shape == (steps, 5, *shape)
        for number in range(5):  # a sample's tap is that of the sample alone
            alone = seen(SAMPLES[number : number + 1])
            for name in taps:
                torch.testing.assert_close(alone.taps[name][:, 0], output.taps[name][:, number])
        assert output.features.shape[:2] == output.step_logits.shape[:2] == (steps, 5)
        torch.testing.assert_close(network.head(output.features), output.step_logits)
        torch.testing.assert_close(output.step_logits.mean(0), output.logits)
        torch.testing.assert_close(output.logits, plain.mean(0) if plain.ndim == 3 else plain)
    assert not isinstance(network(SAMPLES), NetworkOutput)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


@pytest.mark.parametrize("module", [Residual, Steps, WholeSequence, lambda: Folded("time")])
def test_gradients_of_a_teacher_are_those_of_finite_differences(module):
    """What a change of one activation does to the loss is what the tap's gradient says."""
    torch.manual_seed(0)
    network, labels = module().double().eval(), torch.tensor([0, 1, 2, 0, 1])
    samples = SAMPLES.double()
    with observed(network, samples, what="teacher") as seen, frozen(network):
        answer = ask(seen, samples, labels, gradients=True)
        name = seen.taps[-1]
        place = seen.tapped[name]
        change = torch.zeros_like(answer.output.taps[name])
        change[-1, 2].view(-1)[1] = 1e-6
        calls = iter(range(100))

        def nudge(_layer, _inputs, output):
            number = next(calls)
            if number < place.first or (number - place.first) % place.every:
                return output
            step = change[(number - place.first) // place.every] if place.layout == "step" else change
            flat = {"once": lambda: step[0], "flat": lambda: step.transpose(0, 1).flatten(0, 1)}
            return output + flat.get(place.layout, lambda: step)()

        before = nn.functional.cross_entropy(answer.output.logits, labels, reduction="sum")
        handle = network.get_submodule(place.layer).register_forward_hook(nudge)
        after = nn.functional.cross_entropy(seen(samples).logits, labels, reduction="sum")
        handle.remove()
    expected = float(after - before) / 1e-6
    assert abs(expected) > 1e-4
    assert float(answer.tap_gradients[name][-1, 2].view(-1)[1]) == pytest.approx(expected, rel=1e-3)


def test_a_frozen_teacher_is_afterwards_as_it_was():
    teacher = Residual()
    teacher.conv.eval()
    teacher.head.bias.requires_grad_(False)
    before = [(module.training, [w.requires_grad for w in module.parameters(False)]) for module in teacher.modules()]
    with frozen(teacher):
        assert not any(module.training for module in teacher.modules())
        assert not any(weight.requires_grad for weight in teacher.parameters())
    assert [(module.training, [w.requires_grad for w in module.parameters(False)]) for module in teacher.modules()] == before


class Changed(Residual):
    """Its ReLU's answer is changed in place while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = nn.functional.dropout(x, 0.5, self.training, inplace=True)
        return self.head(x.mean((2, 3)))


def test_a_tap_that_is_changed_afterwards_is_refused_instead_of_read():
    network = Changed()
    with observed(network, SAMPLES, what="student") as seen:
        network.train()
        with pytest.raises(UserError, match="layer relu: what it answers is changed in place by a later layer"):
            seen(SAMPLES)


class Carries(Steps):
    def forward(self, x: Tensor) -> Tensor:
        self.seen = getattr(self, "seen", 0) + 1
        return super().forward(x) + self.seen


class Pair(Steps):
    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return super().forward(x), None


class BatchFirst(Steps):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).transpose(0, 1)


class TwoHeads(Residual):
    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x)).mean((2, 3))
        return self.head(x) + 0.1 * self.side(x)


@pytest.mark.parametrize(
    ("module", "names", "message"),
    [
        (Carries, Names(), "student: answers the same samples differently the second time"),
        (Pair, Names(), "student: answers with a tuple, logits"),
        (BatchFirst, Names(), r"student: answers with the shape \[3, 3, 3\] for 3 samples|shape \[2, 3, 3\]"),
        (lambda: nn.Linear(9, 3), Names(), r"student: does not take samples of shape \(1, 4, 4\) \(float32\): RuntimeError"),
        (Residual, Names(classifier="haed"), "student: no layer 'haed'; did you mean head"),
        (Residual, Names(taps={"a": "conv3"}), "student: no layer 'conv3'; did you mean conv"),
        (Residual, Names(classifier="conv"), "student: classifier conv "),
        (Residual, Names(taps={"a": "conv"}), "layer conv: what it answers is changed in place by a later layer"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), Names(), "answers with 1 values of float32"),
        (lambda: torch.compile(Residual()), Names(), "student: compiled"),
    ],
)
def test_modules_that_cannot_be_observed_are_refused_by_what_is_wrong(module, names, message):
    with pytest.raises(UserError, match=message), observed(module(), SAMPLES, what="student", names=names):
        pass


def test_layers_are_named_where_they_cannot_be_found():
    with observed(TwoHeads(), SAMPLES, what="teacher") as seen:
        assert seen.classify is None
        assert "the last nn.Linear of the teacher, side, does not give its answer" in seen.absent["features"]
    with observed(TwoHeads(), SAMPLES, what="teacher", names=Names(classifier="head", taps={"first": "relu"})) as seen:
        output = seen(SAMPLES)
        assert output.features.shape == (1, 5, 4)
        assert list(output.taps) == ["first"]
        assert output.taps["first"].shape == (1, 5, 4, 4, 4)
    with observed(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), SAMPLES, what="student") as seen:
        assert seen.taps == ()
        assert "the student calls no spiking layer and no nn.ReLU; name layers with taps=" in seen.absent["taps"]
