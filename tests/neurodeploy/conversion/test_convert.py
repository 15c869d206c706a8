import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from neurodeploy.conversion import Method, convert, initialise
from neurodeploy.dynamics.layers import Conv2d, Flatten, LateResetNeuron, MaxPool2d, Neuron, ThresholdNeuron, TimeMean
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.graph import interpreter, ops
from neurodeploy.graph.tracing import trace
from neurodeploy.graph.transforms import fold_batch_norm
from neurodeploy.io.errors import UserError
from neurodeploy.networks import ConvNetSpec, Relu, ResNetSpec, SpikingActivations, VggSpec

SAMPLES = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
NETWORKS = {
    "conv": ConvNetSpec(channels=(6, 8), strides=(1, 2)),
    "resnet": ResNetSpec(channels=(6, 8), blocks=(2, 1)),
    "resnet-ms": ResNetSpec(channels=(6, 8), blocks=(2, 1), residual="ms"),
    "resnet-plain": ResNetSpec(channels=(6, 8), blocks=(2, 1), form="plain"),
    "vgg-plain": VggSpec(layers=(6, "A", 8, "A"), hidden=(12,), size=8),
    "vgg": VggSpec(layers=(6, 8, "A"), hidden=(12,), size=8, form="batch-norm"),
}
THRESHOLD = NeuronParameters(1.0, 1.0, "soft")


def random_teacher(spec) -> nn.Module:
    """Random weights, and batch norms as training leaves them: every statistic and weight of its own."""
    torch.manual_seed(0)
    network = spec.build(1, 5, Relu())
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return network.eval()


class Rate(nn.Module):
    """The limit of many steps, without saturation: the firing rate is the current over the threshold."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, current):
        return current.relu() / self.threshold


def with_ideal_rates(network: nn.Module) -> nn.Module:
    for name, module in list(network.named_modules()):
        if isinstance(module, ThresholdNeuron):
            path, _, last = name.rpartition(".")
            setattr(network.get_submodule(path), last, Rate(module.constants.threshold))
    return network


@pytest.mark.parametrize("thresholds", ["spiking", "activations", "error", "one"])
@pytest.mark.parametrize("spec", NETWORKS.values(), ids=NETWORKS)
def test_with_ideal_firing_rates_the_converted_network_is_the_teacher(spec, thresholds):
    teacher = random_teacher(spec)
    student = convert(teacher, spec, SAMPLES, steps=8, method=Method(thresholds, scale=0.7))
    with torch.no_grad():
        torch.testing.assert_close(with_ideal_rates(student)(SAMPLES).logits, teacher(SAMPLES).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("repact", [False, True])
def test_every_weight_but_the_classifiers_scale_is_kept_bit_for_bit(teacher, spec, samples, repact):
    before = copy.deepcopy(teacher.state_dict())
    network = convert(teacher, spec, samples, steps=8, repact=repact)
    after = network.state_dict()
    for name in ("conv1.weight", "conv2.weight", "conv3.weight", "bn1.bias", "bn2.bias", "bn3.bias", "classifier.bias"):
        assert torch.equal(after[name], before[name])
    for name in ("bn2.weight", "bn3.weight"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-2, atol=0)
    quotient = after["classifier.weight"] / before["classifier.weight"]
    torch.testing.assert_close(quotient, torch.full_like(quotient, 1 if repact else network.act3.constants.threshold))
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


def test_a_network_without_biases_and_batch_norm_keeps_all_weights_of_its_hidden_layers():
    spec = NETWORKS["vgg-plain"]
    teacher = random_teacher(spec)
    after = convert(teacher, spec, SAMPLES, steps=8).state_dict()
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(after[name], tensor) == (name != "classifier.weight")


def test_the_teacher_stays_in_the_mode_that_it_was_in(teacher, spec, samples):
    teacher.train()
    try:
        network = convert(teacher, spec, samples, steps=2)
        assert teacher.training
        assert not network.training
    finally:
        teacher.eval()


def test_the_batch_size_changes_nothing_that_matters(teacher, spec, samples):
    a, b = (convert(teacher, spec, samples, steps=8, method=Method("activations"), batch_size=size) for size in (7, 256))
    for name, tensor in a.state_dict().items():
        torch.testing.assert_close(b.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_state_dict_carries_all_that_a_rebuilt_network_needs(teacher, spec, samples, data):
    network = convert(teacher, spec, samples, steps=8, method=Method("error", shift=True, calibrate=True))
    rebuilt = spec.build(1, 10, SpikingActivations(partial(ThresholdNeuron, THRESHOLD), 8)).eval()
    rebuilt.load_state_dict(network.state_dict())
    x = data.test_samples[:50]
    with torch.no_grad():
        assert torch.equal(rebuilt(x).logits, network(x).logits)


def test_a_graph_sees_the_thresholds_and_makes_the_same_spikes(teacher, spec, samples, data):
    network = convert(teacher, spec, samples, steps=8)
    graph = fold_batch_norm(trace(network, (1, 8, 8)))
    neurons = {node.name: node.parameters for node in graph.of(ops.NeuronNode)}
    assert neurons == {name: network.get_submodule(name).constants for name in ("act1", "act2", "act3")}
    assert len({parameters.threshold for parameters in neurons.values()}) == 3
    assert all((p.decay, p.reset) == (1.0, "soft") for p in neurons.values())
    x = data.test_samples[:40]
    tensors = interpreter.run(graph, x.numpy())
    with torch.no_grad():
        output = network(x)
    for name, spikes in interpreter.spikes(graph, tensors).items():
        assert np.mean(spikes != output.taps[name].numpy()) < 1e-3  # a fold rounds: potentials at the threshold may tip over
    agree = tensors["logits"].argmax(-1) == output.logits.argmax(-1).numpy()
    assert agree.mean() > 0.9


def test_a_students_own_network_is_initialised_in_place(teacher, spec, samples):
    student = spec.build(1, 10, SpikingActivations(partial(ThresholdNeuron, THRESHOLD, learn_threshold=True), 8))
    assert initialise(student, teacher, samples) is student
    expected = convert(teacher, spec, samples, steps=8)
    assert all(torch.equal(tensor, student.state_dict()[name]) for name, tensor in expected.state_dict().items())


class Pooled(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.fc, self.act, self.second, self.readout = nn.Linear(4, 4), first, second, TimeMean()

    def forward(self, x):
        return self.readout(self.second(self.act(self.fc(x.unsqueeze(0)))))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"teacher": Pooled(nn.Identity(), nn.Linear(4, 3)), "samples": torch.ones(3, 4)}, "teacher: no ReLU layer found"),
        ({"samples": SAMPLES[:0]}, r"calibration samples: shape \[0, 1, 8, 8\] found, .* at least 1 sample"),
        ({"samples": SAMPLES / 0}, "calibration samples: sample 0 holds values that are no finite float32"),
        ({"samples": -torch.ones(4, 1, 8, 8), "teacher": "silent"}, "layer act1: none of its neurons is ever driven above 0"),
        ({"spec": ConvNetSpec(channels=(6, 9), strides=(1, 2))}, r"tensor conv2.weight: \[8, 6, 3, 3\] in the teacher, \[9,"),
        ({"spec": ConvNetSpec(channels=(6, 8, 8), strides=(1, 2, 1))}, "conv3.weight: the student has it, the teacher has not"),
        (
            {"spec": ConvNetSpec(channels=(6,), strides=(1,))},
            "tensor classifier.weight: .* convert with the network definition",
        ),
        ({"code": "latency"}, "conversion code: 'latency' found, 'direct' or 'poisson' expected"),
        ({"steps": 0}, "steps: 0 found"),
    ],
)
def test_bad_input_is_refused_by_name(broken, message):
    spec = NETWORKS["conv"]
    arguments = {"teacher": random_teacher(spec), "spec": spec, "samples": SAMPLES, "steps": 4, **broken}
    if arguments["teacher"] == "silent":
        arguments["teacher"] = random_teacher(spec)
        nn.init.constant_(arguments["teacher"].bn1.bias, -100)
    with pytest.raises(UserError, match=message):
        convert(**arguments)


def test_a_spiking_teacher_is_refused(teacher, spec, samples):
    with pytest.raises(UserError, match="its layer act1 is spiking already"):
        convert(convert(teacher, spec, samples, steps=2), spec, samples, steps=2)


class Maximum(nn.Module):
    """Convolution, activation, maximum of all positions, classifier."""

    def __init__(self, activations) -> None:
        super().__init__()
        self.entry, self.conv, self.encoding = activations.entry(), Conv2d(1, 4, 3), activations.encoding()
        self.act, self.pool, self.flat = activations.make(), MaxPool2d(6), Flatten()
        self.classifier, self.readout = nn.Linear(4, 3), TimeMean()

    def forward(self, x):
        x = self.act(self.encoding(self.conv(self.entry(x))))
        return self.readout(self.classifier(self.flat(self.pool(x))))


def test_a_maximum_of_spikes_is_refused():
    student = Maximum(SpikingActivations(partial(ThresholdNeuron, THRESHOLD), 4))
    with pytest.raises(UserError, match=r"layer pool \(MaxPool\): the maximum of spikes is not the maximum of firing rates"):
        initialise(student, Maximum(Relu()), SAMPLES)


def test_an_answer_made_of_spikes_is_refused():
    class Headless(Maximum):
        def forward(self, x):
            return self.readout(self.act(self.encoding(self.conv(self.entry(x)))))

    with pytest.raises(UserError, match="its answer is made of spikes; end it with a linear layer"):
        initialise(Headless(SpikingActivations(partial(ThresholdNeuron, THRESHOLD), 4)), Headless(Relu()), SAMPLES)


def test_spikes_of_different_thresholds_cannot_be_added():
    spec = ResNetSpec(channels=(6,), blocks=(2,), residual="sew")
    with pytest.raises(UserError, match="which stand for different values"):
        convert(random_teacher(spec), spec, SAMPLES, steps=4)


@pytest.mark.parametrize(
    ("neuron", "found"),
    [
        (partial(Neuron, THRESHOLD), "Neuron with soft reset found"),
        (partial(ThresholdNeuron, NeuronParameters(1.0, 1.0, "hard")), "ThresholdNeuron with hard reset found"),
    ],
)
def test_neurons_whose_rate_is_no_activation_are_refused(neuron, found):
    spec = NETWORKS["conv"]
    student = spec.build(1, 5, SpikingActivations(neuron, 4))
    with pytest.raises(UserError, match=f"layer act1: {found} in the student; a ThresholdNeuron with soft reset"):
        initialise(student, random_teacher(spec), SAMPLES)


@pytest.mark.parametrize("kind", [ThresholdNeuron, LateResetNeuron])
@pytest.mark.parametrize("method", [Method(percentile=99), Method("error", shift=True, calibrate=True)])
def test_neurons_that_leak_get_the_thresholds_of_those_that_do_not(kind, method):
    spec = NETWORKS["vgg"]
    made = []
    for neuron in (partial(ThresholdNeuron, THRESHOLD), partial(kind, NeuronParameters(0.5, 1.0, "soft"))):
        student = spec.build(1, 5, SpikingActivations(neuron, 4))
        made.append(initialise(student, random_teacher(spec), SAMPLES, method=method))
    whole, leaky = made
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(leaky.state_dict()[name], value)
    assert leaky.act1.constants.decay == 0.5
    assert leaky(SAMPLES).taps["act1"].sum() < whole(SAMPLES).taps["act1"].sum()


def test_a_student_that_reads_events_is_refused():
    spec = NETWORKS["conv"]
    student = spec.build(1, 5, SpikingActivations(partial(ThresholdNeuron, THRESHOLD), 4, code="events"))
    with pytest.raises(UserError, match="student: neither direct nor Poisson coding found"):
        initialise(student, random_teacher(spec), SAMPLES)


@pytest.mark.parametrize("method", [Method(shift=True), Method(calibrate=True)])
def test_corrections_need_a_bias(method):
    spec = NETWORKS["vgg-plain"]
    with pytest.raises(UserError, match="layer act1: no layer before it has a bias of its own to correct"):
        convert(random_teacher(spec), spec, SAMPLES, steps=4, method=method)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thresholds": "maximum"}, "thresholds: 'maximum' found, 'spiking', 'activations', 'error', 'one', 'levels' expected"),
        ({"percentile": 0.0}, "percentile: 0.0 found, a number above 0 and at most 100 expected"),
        ({"percentile": 100.1}, "percentile: 100.1 found"),
        ({"percentile": float("nan")}, "percentile: nan found"),
        ({"percentile": 99.0, "thresholds": "error"}, "percentile: belongs to .*, 'error' found"),
        ({"scale": 0.0}, "scale: 0.0 found, a positive number expected"),
        ({"scale": float("inf")}, "scale: inf found"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        Method(**settings)
