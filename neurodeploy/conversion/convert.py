"""From a trained ReLU network to a spiking one: which method, whose weights, and the conversion itself."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal

from torch import Tensor, nn

from neurodeploy.conversion import calibration
from neurodeploy.conversion.method import Method
from neurodeploy.conversion.thresholds import Probe, largest_current, least_error
from neurodeploy.conversion.units import Units
from neurodeploy.dynamics.encodings import DirectEncoding, PoissonEncoding
from neurodeploy.dynamics.layers import Neuron, ThresholdNeuron
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.surrogates import Surrogate
from neurodeploy.graph import ops
from neurodeploy.graph.graph import Graph
from neurodeploy.graph.tracing import trace
from neurodeploy.io.errors import UserError
from neurodeploy.io.values import as_samples
from neurodeploy.networks import NetworkSpec, SpikingActivations


def copy_weights(teacher: nn.Module, student: nn.Module) -> None:
    """Give the student every parameter and buffer of the teacher; its thresholds and leaks stay.

    Raises:
        UserError: the two are not of one definition; the first tensor that only one has, or whose shape differs, is named.
    """
    spiking = [(name, module) for name, module in student.named_modules() if isinstance(module, ThresholdNeuron)]
    own = {f"{name}.{constant}" for name, module in spiking for constant, _ in module.named_parameters()}
    given, expected = teacher.state_dict(), {n: t for n, t in student.state_dict().items() if n not in own}
    advice = "convert with the network definition that the teacher was built of"
    for name in [*expected, *given]:
        if name not in given or name not in expected:
            owner, other = ("student", "teacher") if name not in given else ("teacher", "student")
            raise UserError(f"tensor {name}: the {owner} has it, the {other} has not; {advice}")
        if given[name].shape != expected[name].shape:
            shapes = f"{list(given[name].shape)} in the teacher, {list(expected[name].shape)} in the student"
            raise UserError(f"tensor {name}: {shapes}; {advice}")
    student.load_state_dict({**student.state_dict(), **given})


_BATCH = 50
_DEFAULT = Method()
_IF = NeuronParameters(decay=1.0, threshold=1.0, reset="soft")


def convert(
    teacher: nn.Module,
    spec: NetworkSpec,
    samples: Tensor,
    *,
    steps: int,
    method: Method = _DEFAULT,
    code: Literal["direct", "poisson"] = "direct",
    repact: bool = False,
    surrogate: Surrogate | None = None,
    learn_threshold: bool = False,
    learn_decay: bool = False,
    batch_size: int = _BATCH,
) -> nn.Module:
    """A spiking network that does what a trained ReLU network does: IF neurons with soft reset, one threshold per layer.

    The answer is a network of `spec` like any other student: it can be evaluated, traced, exported and trained further
    (hybrid training: Rathi et al. 2020 take a converted network as the start of surrogate-gradient training). Thresholds are
    part of its state dict.

    Args:
        teacher: the ReLU network; left as it is.
        spec: the definition that it was built of.
        samples: calibration samples `[N, C, …]`, of the training data; a few hundred are usual.
        steps: T, of the network and of the calibration.
        method: how thresholds are found and what is corrected.
        code: "direct" repeats the sample's current, "poisson" draws spikes (values from 0 to 1).
        repact: the last activation stays a ReLU, applied at every step. The mean over steps of a ReLU is more than the ReLU of
            the mean current, so such a network needs calibration or further training.
        surrogate: derivative of the spike in later training.
        learn_threshold: whether later training learns the thresholds too.
        learn_decay: whether it learns the leaks, which begin at 1.
        batch_size: samples per forward pass.

    Returns:
        The spiking network, on the device of the teacher, in evaluation mode.

    Raises:
        UserError: see `initialise`; or the code is neither direct nor Poisson.
    """
    if code not in ("direct", "poisson"):
        raise UserError(f"conversion code: {code!r} found, 'direct' or 'poisson' expected: only they carry a value as a rate")
    graph = _graph(teacher, samples)
    neuron = partial(ThresholdNeuron, _IF, surrogate, learn_threshold=learn_threshold, learn_decay=learn_decay)
    activations = SpikingActivations(neuron, steps, repact, code)
    student = spec.build(samples.shape[1], graph.shape(graph.output.name)[0], activations)
    student.to(next(teacher.parameters()).device)
    return initialise(student, teacher, samples, method=method, batch_size=batch_size)


def initialise(
    student: nn.Module, teacher: nn.Module, samples: Tensor, *, method: Method = _DEFAULT, batch_size: int = _BATCH
) -> nn.Module:
    """Give a spiking network the weights of a ReLU network, and thresholds with which its rates stand for activations.

    Neurons that leak are balanced without their leak, and have it again afterwards: the network is then a start for training,
    in which rates are less than activations (LaSNN: an intermediate network of IF neurons, then a student with λ < 1).

    Args:
        student: built of the teacher's definition; its spiking layers are `layers.ThresholdNeuron` with soft reset, a last ReLU
            (RepAct) is welcome. Changed in place.
        teacher: the ReLU network; left as it is.
        samples: calibration samples `[N, C, …]`.
        method: how thresholds are found and what is corrected.
        batch_size: samples per forward pass.

    Returns:
        The student, in evaluation mode.

    Raises:
        UserError: no samples or values that are not finite; a teacher without ReLU, with spiking neurons or max pooling;
            teacher and student of different definitions; neurons of another kind; a layer that no sample excites; a layer
            without bias where one is to be corrected.
    """
    graph = _graph(teacher, samples)
    copy_weights(teacher, student)
    steps, probe, units = _steps(student), Probe(samples, batch_size), Units(graph, student)
    student.eval()
    with _evaluating(teacher), _without_leak(student):
        for node in graph.nodes:
            units.enter(node)
            neuron = _neuron(student, node)
            if neuron is not None:
                unit = units[node.inputs[0]]
                neuron.set_threshold(method.scale * _threshold(method, student, teacher, node.name, unit, probe, steps))
                units.fire(node.name, neuron.constants.threshold)
                if method.shift:
                    calibration.shift(units, node, neuron.constants.threshold, steps)
        if method.calibrate:
            for relu in graph.of(ops.ReluNode):
                calibration.calibrate_biases(student, teacher, units, relu, probe)
    return student


def _threshold(
    method: Method, student: nn.Module, teacher: nn.Module, layer: str, unit: float, probe: Probe, steps: int
) -> float:
    """θ of a layer whose current has the given unit."""
    if method.thresholds == "levels":
        raise UserError('conversion thresholds: "levels" found, which are for nd.spiking of a network of neurodeploy.qcfs')
    if method.thresholds == "one":
        return 1.0
    if method.thresholds == "spiking":
        return largest_current(student, layer, probe, method.percentile)
    if method.thresholds == "activations":
        return largest_current(teacher, layer, probe, method.percentile) / unit
    return least_error(teacher, layer, probe, steps) / unit


def _graph(teacher: nn.Module, samples: Tensor) -> Graph:
    if samples.ndim < 2 or len(samples) == 0:
        raise UserError(f"calibration samples: shape {list(samples.shape)} found, [N, C, …] with at least 1 sample expected")
    as_samples(samples, "calibration samples", axes=2, keep=True)
    graph = trace(teacher, tuple(samples.shape[1:]))
    if graph.spiking:
        raise UserError(f"teacher: its layer {graph.spiking[0]} is spiking already; a ReLU network is expected")
    if not graph.of(ops.ReluNode):
        raise UserError("teacher: no ReLU layer found; only firing rates of ReLU activations can be converted")
    return graph


def _neuron(student: nn.Module, node: ops.Node) -> ThresholdNeuron | None:
    """The spiking layer that stands for a node; None if the node is no ReLU, or still one (RepAct)."""
    if not isinstance(node, ops.ReluNode):
        return None
    module = student.get_submodule(node.name)
    if isinstance(module, nn.ReLU):
        return None
    constants = module.constants if isinstance(module, Neuron) else None
    if not isinstance(module, ThresholdNeuron) or module.constants.reset != _IF.reset:
        detail = f" with {constants.reset} reset" if constants is not None else ""
        raise UserError(
            f"layer {node.name}: {type(module).__name__}{detail} found in the student; a ThresholdNeuron with soft reset "
            "expected, whose firing rate stands for an activation"
        )
    return module


def _steps(student: nn.Module) -> int:
    for module in student.modules():
        if isinstance(module, DirectEncoding | PoissonEncoding):
            return module.steps
    raise UserError("student: neither direct nor Poisson coding found; only they carry a value as a rate")


@contextmanager
def _without_leak(student: nn.Module) -> Iterator[None]:
    """Inside, all neurons with a threshold that can be set are IF neurons."""
    with ExitStack() as stack:
        for module in student.modules():
            if isinstance(module, ThresholdNeuron):
                stack.enter_context(module.without_leak())
        yield


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)
