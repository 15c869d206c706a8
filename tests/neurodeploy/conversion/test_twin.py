"""Spiking twins of plain torch networks: copied weights, rates that stand for activations, and deployment as of any student."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import neurodeploy as nd
from neurodeploy.conversion import Method, SpikingTwin, TracedNetwork, traced_network
from neurodeploy.distillation.term import LossTerm
from neurodeploy.graph import fold_scales, ops
from neurodeploy.graph.module import GraphModule
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.training.teacher import ask
from neurodeploy.training.twins import traced_teacher


class Residual(nn.Module):
    """An option-A shortcut, two sums, a join and functions instead of layers."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv1, self.conv2 = nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.side = nn.Conv2d(8, 4, 1)
        self.classifier = nn.Linear(12, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        y = F.relu(self.conv1(x))
        y = F.relu(self.conv2(y) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))
        y = torch.cat([y, F.relu(self.side(y))], 1)
        return self.classifier(F.avg_pool2d(y, 4).flatten(1))


def residual() -> nn.Module:
    torch.manual_seed(0)
    network = Residual()
    for _ in range(20):
        network(torch.rand(16, 2, 8, 8))
    return network.eval()


def plain() -> nn.Module:
    torch.manual_seed(0)
    features = (nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
    return nn.Sequential(*features, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 5)).eval()


def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


IMAGES, VECTORS = torch.rand(24, 2, 8, 8), torch.randn(40, 6)


def test_weights_are_copied_and_layers_keep_their_names():
    network = dense()
    twin = nd.spiking(network, VECTORS, steps=4)
    assert isinstance(twin, SpikingTwin)
    assert twin.spiking == ("1", "3")
    for name in ("0", "2", "4"):
        assert torch.equal(twin.get_submodule(name).weight, network.get_submodule(name).weight)
    for name in ("0", "2"):  # that of the logits is corrected
        assert torch.equal(twin.get_submodule(name).bias, network.get_submodule(name).bias)
    assert twin.thresholds.keys() == {"1", "3"}


@pytest.mark.parametrize("method", [Method("error"), Method("error", shift=True), Method("activations", 99.0)])
def test_without_calibration_every_bias_is_copied(method):
    network = dense()
    twin = nd.spiking(network, VECTORS, steps=4, method=method)
    assert torch.equal(twin.get_submodule("4").bias, network[4].bias)


@pytest.mark.parametrize("repact", [False, True])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("evaluate_after", [0, 2])
def test_calibrated_logits_are_right_on_average_over_the_samples(reset, repact, evaluate_after):
    network = residual()
    twin = nd.spiking(network, IMAGES, steps=4, reset=reset, repact=repact, evaluate_after=evaluate_after)
    with torch.no_grad():
        torch.testing.assert_close(twin(IMAGES).logits.mean(0), network(IMAGES).mean(0), atol=1e-5, rtol=1e-5)


def test_logits_that_no_bias_makes_stay_as_they_are():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3, bias=False)).eval()
    twin = nd.spiking(network, VECTORS, steps=4)
    assert torch.equal(twin.get_submodule("2").weight, network[2].weight)
    assert twin.get_submodule("2").bias is None


@pytest.mark.parametrize(
    ("steps", "reset", "after"),
    [(1, None, 0), (16, None, 0), (16, "soft", 0), (17, None, 8), (64, None, 32), (64, "soft", 32), (64, "hard", 0)],
)
def test_many_steps_of_soft_reset_are_evaluated_late_and_corrected_by_nothing_else(steps, reset, after):
    network = dense()
    twin = nd.spiking(network, VECTORS, steps=steps, reset=reset)
    assert twin.evaluate_after == after
    late = after > 0
    assert torch.equal(twin.get_submodule("4").bias, network[4].bias) == late
    assert (not twin.in_thresholds("1").offset.any()) == late
    assert nd.spiking(network, VECTORS, steps=steps, reset=reset, evaluate_after=0).evaluate_after == 0


def test_logits_are_the_mean_of_the_later_step_logits_of_which_none_is_left_out():
    twin = nd.spiking(dense(), VECTORS, steps=20)
    with torch.no_grad():
        output = twin(VECTORS)
    assert len(output.step_logits) == len(output.features) == 20
    torch.testing.assert_close(output.logits, output.step_logits[10:].mean(0))
    assert "evaluate_after=10" in repr(twin)


def test_late_answers_are_nearer_to_the_network_than_those_of_all_steps():
    network = residual()
    with torch.no_grad():
        wanted = network(IMAGES)
        output = nd.spiking(network, IMAGES, steps=128, method=Method("error"))(IMAGES)
    assert (output.logits - wanted).norm() < 0.7 * (output.step_logits.mean(0) - wanted).norm()


@pytest.mark.parametrize("after", [-1, 8, 9])
def test_a_twin_of_which_no_step_would_be_evaluated_is_refused(after):
    with pytest.raises(UserError, match=rf"evaluate_after: {after} found, from 0 to 7 of 8 time steps expected"):
        nd.spiking(dense(), VECTORS, steps=8, evaluate_after=after)


def test_a_twin_says_that_hard_reset_makes_it_useless_before_it_is_trained():
    (note,) = nd.spiking(dense(), VECTORS, steps=4).notes
    assert note.startswith("hard reset, 4 steps: ")
    assert "close to useless before it is trained" in note
    assert nd.spiking(dense(), VECTORS, steps=4, reset="soft").notes == ()
    assert nd.spiking(dense(), VECTORS, steps=64).notes == ()


def test_the_network_itself_is_left_alone():
    network = residual().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    nd.spiking(network, IMAGES, steps=2)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("make", "samples"), [(dense, VECTORS), (residual, IMAGES)])
def test_with_many_steps_a_twin_answers_what_its_network_answers(make, samples):
    network = make()
    twin = nd.spiking(network, samples, steps=256)
    with torch.no_grad():
        wanted, output = network(samples), twin(samples)
    assert (output.logits - wanted).norm() < 0.05 * wanted.norm()
    assert (output.logits.argmax(1) == wanted.argmax(1)).float().mean() >= 0.95
    assert all(set(tap.unique().tolist()) <= {0.0, 1.0} for tap in output.taps.values())


def test_activations_of_a_twin_are_rates_times_thresholds():
    network, reference = dense(), traced_network(dense(), VECTORS)
    twin = nd.spiking(network, VECTORS, steps=512, method=Method("activations", 100.0, shift=True))
    with torch.no_grad():
        mine, wanted = twin(VECTORS), reference(VECTORS)
    for name, threshold in twin.thresholds.items():
        torch.testing.assert_close(threshold * mine.taps[name].mean(0), wanted.taps[name][0], atol=0.05, rtol=0.05)
    torch.testing.assert_close(mine.features.mean(0), wanted.features[0], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("repact", [False, True])
def test_the_deployed_twin_fires_the_spikes_of_the_twin_and_multiplies_nothing(reset, repact):
    twin = nd.spiking(residual(), IMAGES, steps=5, reset=reset, repact=repact)
    folded = fold_scales(trace(twin, (2, 8, 8)))
    assert not folded.of(ops.BatchNormNode)
    module = GraphModule(folded)
    seen = {}
    for name in twin.spiking:
        module.get_submodule(name).register_forward_hook(lambda _m, _x, y, name=name: seen.update({name: y}))
    with torch.no_grad():
        output, logits = twin(IMAGES), module(IMAGES)
    torch.testing.assert_close(logits, output.logits, atol=1e-3, rtol=1e-3)
    differing = sum(int((seen[name] != output.taps[name]).sum()) for name in twin.spiking)
    assert differing <= 1e-4 * sum(tap.numel() for tap in output.taps.values())


@pytest.mark.parametrize("quantize", ["none", "exact"])
@pytest.mark.parametrize(("target", "steps"), [("onnx", 3), ("lava", 3), ("nir", 3), ("onnx", 20), ("nir", 20)])
def test_a_twin_is_exported_and_verified(target, steps, quantize, tmp_path):
    network = residual() if target != "nir" else plain()  # NIR has no slices and joins
    model = nd.deploy(nd.spiking(network, IMAGES, steps=steps), IMAGES)
    check = nd.verify(nd.export(model, target, tmp_path / target, samples=4, quantize=quantize))
    assert check.passed
    assert check.mismatches == 0 < check.spikes_compared


def test_nir_says_which_layer_of_a_twin_it_cannot_hold(tmp_path):
    model = nd.deploy(nd.spiking(residual(), IMAGES, steps=3), IMAGES)
    with pytest.raises(UserError, match=r"^node \S+( \(\w+\))?: "):
        nd.export(model, "nir", tmp_path / "nir", samples=4)


def test_layers_before_the_first_neurons_are_computed_once():
    graph = trace(nd.spiking(residual(), IMAGES, steps=7), (2, 8, 8))
    assert not graph.timed("stem")
    assert graph.timed("relu")
    assert graph.steps == 7


class TwoEntries(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(16, 3)

    def forward(self, x):
        return self.c(torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1))


def test_where_two_branches_begin_at_the_input_the_input_is_repeated():
    torch.manual_seed(0)
    twin = nd.spiking(TwoEntries().eval(), VECTORS, steps=3)
    graph = trace(twin, (6,))
    assert graph[graph["a"].inputs[0]].kind == "Encode"
    assert nd.deploy(twin, VECTORS).graph is not None


@pytest.mark.parametrize("after", [0, 1])
def test_every_loss_term_takes_a_twin_and_its_teacher(after):
    network = plain()
    twin = nd.spiking(network, IMAGES, steps=2, evaluate_after=after).train()
    teacher, labels = traced_teacher(network, IMAGES, classes=5), torch.arange(24) % 5
    kinds = [kind for kind in every_term() if kind.__module__.startswith("neurodeploy.distillation")]
    assert len(kinds) >= 10
    for kind in kinds:
        term = kind().of_network(twin, tuple(IMAGES.shape[1:]))
        answer = ask(teacher, IMAGES, labels, gradients=term.needs_teacher_gradients) if term.needs_teacher else None
        value = term(twin(IMAGES), answer, labels)
        assert torch.isfinite(value), kind
        twin.zero_grad()
        value.backward()


def every_term():
    pending, found = [LossTerm], []
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if "kind" in vars(kind).get("__annotations__", {}):
            found.append(kind)
    return found


def test_laf_is_near_0_where_the_conversion_is_good():
    network = dense()
    twin = nd.spiking(network, VECTORS, steps=512)
    answer = ask(traced_teacher(network, VECTORS, classes=3), VECTORS, torch.zeros(40).long(), gradients=False)
    with torch.no_grad():
        assert nd.losses.Laf()(twin(VECTORS), answer, torch.zeros(40).long()) < 0.01


def test_a_relu_with_a_ceiling_has_no_threshold_above_it():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.Hardtanh(0, 0.25), nn.Linear(16, 3)).eval()
    twin = nd.spiking(network, VECTORS, steps=4, method=Method("activations", 100.0))
    assert twin.thresholds["1"] <= 0.25 + 1e-6


def test_max_pooling_is_of_currents_and_is_said():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()
    twin = nd.spiking(network, IMAGES, steps=64)
    assert [node.kind for node in twin.graph.nodes][1:4] == ["Conv", "MaxPool", "Relu"]
    assert "layer 1: max pooling" in twin.notes[0]
    with torch.no_grad():
        torch.testing.assert_close(twin(IMAGES).logits, network(IMAGES), atol=0.02, rtol=0.05)


def test_the_normalisation_of_samples_does_not_learn():
    class Normalising(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = plain()

        def forward(self, x):
            return self.inner((x - 0.5) / 0.25)

    twin = nd.spiking(Normalising().eval(), IMAGES, steps=2)
    learned = {name for name, parameter in twin.named_parameters() if parameter.requires_grad}
    assert {"inner.0.weight", "inner.3.bias"} <= learned
    assert not {name for name in learned if name.startswith(("div", "sub"))}


def test_thresholds_learn_if_they_are_asked_to():
    twin = nd.spiking(dense(), VECTORS, steps=4, learn_threshold=True).train()
    twin(VECTORS).logits.square().sum().backward()
    assert twin.in_thresholds("1").log_threshold.grad.abs() > 0
    fixed = nd.spiking(dense(), VECTORS, steps=4).train()
    fixed(VECTORS).logits.square().sum().backward()
    assert fixed.in_thresholds("1").log_threshold.grad is None


def test_poisson_code_draws_spikes_and_a_host_does_it_once_deployed():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    twin = nd.spiking(network, IMAGES, steps=8, code="poisson")
    model = nd.deploy(twin, IMAGES)
    assert model.graph.input.timed


@pytest.mark.parametrize(
    "method",
    [
        Method("activations", 99.0),
        Method("spiking"),
        Method("error"),
        Method("one"),
        Method("activations", scale=0.7, calibrate=True),
    ],
)
def test_thresholds_are_found_in_every_way(method):
    twin = nd.spiking(dense(), VECTORS, steps=8, method=method)
    assert all(np.isfinite(threshold) and threshold > 0 for threshold in twin.thresholds.values())
    assert (method.thresholds == "one") == (set(twin.thresholds.values()) == {1.0})


@pytest.mark.parametrize(
    ("network", "samples", "message"),
    [
        (nn.Sequential(nn.Linear(6, 3)), VECTORS, "no ReLU found"),
        (nn.Sequential(nn.Linear(6, 3), nn.ReLU()), torch.zeros(0, 6), "at least 1 sample expected"),
        (
            nn.Sequential(nn.Linear(6, 3), nn.ReLU()),
            torch.full((3, 6), torch.nan),
            "sample 0 holds values that are no finite",
        ),
        (nn.Sequential(nn.Linear(6, 3), nn.GELU()), VECTORS, "layer 1 .*GELU.*: has no form"),
        (nn.Sequential(nn.Linear(6, 3), nd.LIF()), VECTORS, "static value found|spiking already"),
        (nn.Sequential(nn.Linear(6, 3), nn.ReLU()), torch.zeros(4, 6), "layer 1: none of its neurons is ever driven above 0"),
    ],
)
def test_what_cannot_have_a_twin_is_refused_by_name(network, samples, message):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(-parameter.abs())
    with pytest.raises(UserError, match=message):
        nd.spiking(network.eval(), samples, steps=4)


def test_a_named_classifier_must_be_what_makes_the_logits():
    with pytest.raises(UserError, match=r"classifier '2': 4 \(Linear\) makes the logits"):
        nd.spiking(dense(), VECTORS, steps=4, classifier="2")
    assert TracedNetwork(trace(dense(), (6,)), classifier="4").classifier_name == "4"
