"""What each tool that reads NIR makes of a file: the rules of its reader, in our words, checked on the file's nodes.

They were read in snn-mlir 1.0.0, spyx 1.0.0, snn2mcu (generator V2, January 2026), NIR2FPGA (its ISCAS release, May 2026),
snntorch 1.0.0, spikingjelly 2.0.0, norse 1.1.0, sinabs 3.1.3 and rockpool 3.1.0; `make nir-frameworks` runs those that can be
installed, and compares what they do with what is said here. A reader that refuses a file says so itself; what matters more is
what it passes over or takes for something else without a word.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurodeploy_exporters.nir.content import Content, Primitive
from neurodeploy_exporters.nir.dialects import DT

Severity = Literal["refused", "wrong", "differs"]


@dataclass(frozen=True)
class Finding:
    """One thing that a reader does not do as the file says.

    Attributes:
        severity: "refused": it reads no such file; "wrong": it reads it as another network, without a word; "differs": it
            steps in a way of its own, which may change spikes.
        node: where; "" for the whole file.
        text: what.
    """

    severity: Severity
    node: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.node + ': ' if self.node else ''}{self.text}"


@dataclass(frozen=True, eq=False)
class Wiring:
    """A file as the rules look at it.

    Attributes:
        content: of the file; graphs within graphs are one node.
        dt: one time step, if the file says it.
        before, after: names of the nodes that a node reads, and that read it.
    """

    content: Content
    dt: float | None
    before: Mapping[str, tuple[str, ...]]
    after: Mapping[str, tuple[str, ...]]

    def of(self, *kinds: str) -> Iterator[tuple[str, Primitive]]:
        """The nodes of these kinds."""
        for name, node in self.content.nodes.items():
            if isinstance(node, Primitive) and node.kind in kinds:
                yield name, node


Rule = Callable[[Wiring], Iterator[Finding]]


@dataclass(frozen=True)
class NirReader:
    """One tool.

    Attributes:
        name: of it.
        what: it is.
        dialect: in which files are written for it.
        rules: that it follows.
        says: what it does whatever the file says, a sentence.
    """

    name: str
    what: str
    dialect: str
    rules: tuple[Rule, ...]
    says: str

    def findings(self, content: Content) -> tuple[Finding, ...]:
        """What it would not do as a file says; nothing if it reads it as it is."""
        wiring = _wiring(content)
        with np.errstate(all="ignore"):  # absurd numbers meet no rule
            found = [finding for rule in self.rules for finding in rule(wiring)]
        return tuple(dict.fromkeys(found))


def _wiring(content: Content) -> Wiring:
    before: dict[str, list[str]] = {name: [] for name in content.nodes}
    after: dict[str, list[str]] = {name: [] for name in content.nodes}
    for a, b in content.edges:
        before[b].append(a)
        after[a].append(b)
    told = content.metadata.get("dt")
    dt = float(told.flat[0]) if isinstance(told, np.ndarray) and told.size == 1 and told.dtype.kind in "fiu" else None
    return Wiring(content, dt, {k: tuple(v) for k, v in before.items()}, {k: tuple(v) for k, v in after.items()})


def _kind(node: Any) -> str:
    return node.kind if isinstance(node, Primitive) else "NIRGraph"


def _terminals(*names: str, severity: Severity = "refused", text: str = "") -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name in names:
            if name not in wiring.content.nodes:
                yield Finding(severity, "", text or f"no node is called {name!r}, from which it follows the edges")

    return rule


def _kinds(*known: str, passed: tuple[str, ...] = (), otherwise: Severity = "refused") -> Rule:
    """Nodes of other kinds are refused; those `passed` over are wrong."""

    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name, node in wiring.content.nodes.items():
            kind = _kind(node)
            if kind in known or kind in ("Input", "Output"):
                continue
            if kind in passed or otherwise == "wrong":
                yield Finding("wrong", name, f"passes over {kind} without a word")
            else:
                yield Finding("refused", name, f"knows no {kind}")

    return rule


def _chain(severity: Severity, text: str) -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name in wiring.content.nodes:
            if len(wiring.before[name]) > 1 or len(wiring.after[name]) > 1:
                yield Finding(severity, name, text)

    return rule


def _numbers(node: Primitive, field_name: str, default: float = 0.0) -> NDArray[Any]:
    value = node.fields.get(field_name)
    return np.asarray(value) if isinstance(value, np.ndarray) and value.size else np.array(default)


def _equal(one: NDArray[Any], other: Any, rtol: float = 1e-5) -> bool:
    """Whether numbers are close; those whose shapes do not fit are not."""
    try:
        return bool(np.allclose(one, other, rtol=rtol))
    except ValueError:
        return False


def _uniform(severity: Severity, text: str, *kinds: str) -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name, node in wiring.of(*kinds):
            for field_name in node.fields:
                values = _numbers(node, field_name)
                if field_name != "shape" and values.min() != values.max():
                    yield Finding(severity, name, f"{field_name} differs between neurons: {text}")

    return rule


def _rest(severity: Severity, *kinds: str) -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name, node in wiring.of(*kinds):
            for field_name in ("v_leak", "v_reset"):
                if _numbers(node, field_name).any():
                    yield Finding(severity, name, f"{field_name} is not 0, as it takes it to be")

    return rule


def _unit_gain(text: str, severity: Severity = "wrong", dt: float | None = None) -> Rule:
    """The reader adds inputs to the potential as they are; the file means that if R = τ/dt."""

    def rule(wiring: Wiring) -> Iterator[Finding]:
        step = wiring.dt if dt is None else dt
        for name, node in wiring.of("LIF", "LI"):
            r, tau = _numbers(node, "r", 1.0), _numbers(node, "tau", 1.0)
            if step is None and (r == 1).all():
                yield Finding("differs", name, f"R is 1: {text}, which is right only where that is a writer's way")
            elif step is not None and not _equal(r * step, tau, rtol=1e-3):
                yield Finding(severity, name, f"R is {r.flat[0]:g} and tau/dt {tau.flat[0] / step:g}: {text}")

    return rule


def _step_of_resistance(wiring: Wiring) -> Iterator[Finding]:
    """snn-mlir's step is τ/R."""
    for name, node in wiring.of("LIF", "LI"):
        r, tau = float(_numbers(node, "r", 1.0).flat[0]), float(_numbers(node, "tau", 1.0).flat[0])
        if r < 1 - 1e-6:
            yield Finding("wrong", name, f"takes tau/R for the step: with R = {r:g} the decay 1 - 1/R is negative")
        elif wiring.dt is None and r == 1:
            yield Finding("wrong", name, "takes tau/R for the step: with R = 1 nothing of the potential is kept")
        elif wiring.dt is not None and not _equal(np.array(r * wiring.dt), tau, rtol=1e-3):
            yield Finding("wrong", name, f"takes tau/R for the step, {tau / r:g}, where the file means {wiring.dt:g}")
    for name, node in wiring.of("IF", "I"):
        if not _equal(_numbers(node, "r", 1.0), 1):
            yield Finding("refused", name, f"R is {_numbers(node, 'r').flat[0]:g}; 1 expected of neurons without a leak")
    for name, node in wiring.of("CubaLIF"):
        ratio = _numbers(node, "tau_mem", 1.0).flat[0] / _numbers(node, "r", 1.0).flat[0]
        if not _equal(_numbers(node, "w_in", 1.0) * ratio, _numbers(node, "tau_syn", 1.0)):
            yield Finding("refused", name, "w_in dt/tau_syn is not 1, with tau_mem/R for dt")


def _plain_convolutions(*, dilation: Severity, groups: Severity, text: str) -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name, node in wiring.of("Conv1d", "Conv2d"):
            if (_numbers(node, "dilation", 1) != 1).any():
                yield Finding(dilation, name, f"a dilation: {text}")
            if (_numbers(node, "groups", 1) != 1).any():
                yield Finding(groups, name, f"groups: {text}")

    return rule


def _padded_sums(text: str) -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name, node in wiring.of("SumPool2d"):
            if _numbers(node, "padding").any():
                yield Finding("wrong", name, text)

    return rule


def _one_axis(wiring: Wiring) -> Iterator[Finding]:
    for name, node in wiring.of("Input"):
        sizes = _numbers(node, "shape", 1)
        if sizes.size > 1:
            yield Finding("refused", name, f"a sample of {sizes.size} axes: one axis expected")


def _flattened_otherwise(wiring: Wiring) -> Iterator[Finding]:
    for name, node in wiring.of("Flatten"):
        sizes = np.ravel(_numbers(node, "input_type", 1))
        if sizes.size == 3 and sizes[0] > 1 and sizes[1] * sizes[2] > 1:
            yield Finding("wrong", name, "flattens with the channels last, so that the weights behind meet other values")


def _joined_at_neurons(wiring: Wiring) -> Iterator[Finding]:
    neurons, synapses = ("CubaLIF", "CubaLI", "LIF", "LI", "IF", "I"), ("Linear", "Affine", "Conv1d", "Conv2d")
    for name, node in wiring.content.nodes.items():
        if len(wiring.after[name]) > 1 and not any(
            _kind(wiring.content.nodes[other]) in synapses and wiring.after[other] == (name,) for other in wiring.after[name]
        ):
            yield Finding("refused", name, f"{len(wiring.after[name])} nodes read it; one expected, beside a recurrent synapse")
        sources = wiring.before[name]
        if len(sources) > 1 and (
            _kind(node) not in neurons or any(_kind(wiring.content.nodes[other]) not in synapses for other in sources)
        ):
            yield Finding("refused", name, "a sum of others than synapses into a neuron")


def _known_shapes(wiring: Wiring) -> Iterator[Finding]:
    """nir from 1.0.5 on works shapes out; a convolution tells its own, if it can."""
    for name, node in wiring.of("Conv1d", "Conv2d"):
        if "input_shape" not in node.fields:
            yield Finding("refused", name, "no input_shape: without it there is no shape for what follows")


def _microcontroller(wiring: Wiring) -> Iterator[Finding]:
    """snn2mcu walks from `input` over pairs of a linear layer and LIF neurons, and stops at anything else."""
    for name, node in wiring.of("Affine", "Linear"):
        if "rec" in name:
            yield Finding("wrong", name, "has 'rec' in its name, which it takes for a recurrent connection")
        if _numbers(node, "bias").any():
            yield Finding("wrong", name, "leaves out biases that are not 0 (and prints a warning)")
        following = [_kind(wiring.content.nodes[other]) for other in wiring.after[name]]
        if following != ["LIF"]:
            yield Finding("wrong", name, f"is followed by {', '.join(following) or 'nothing'}: ends the network there")
    for name, node in wiring.of("LIF"):
        decay = 1 - DT / _numbers(node, "tau", 1.0)
        if (decay < 0).any() or (decay >= 1).any():
            yield Finding("wrong", name, f"takes 1 - {DT:g}/tau for the decay, which is {decay.flat[0]:g} here")


def _steps(wiring: Wiring) -> Iterator[Finding]:
    """NIR2FPGA takes 1 − 1/τ for the decay."""
    for name, node in wiring.of("LIF", "LI"):
        tau = _numbers(node, "tau", 1.0)
        if (tau < 1).any():
            yield Finding("wrong", name, f"takes 1 - 1/tau for the decay, which is {1 - 1 / tau.flat[0]:g} here")


def _spyx_step(wiring: Wiring) -> Iterator[Finding]:
    if wiring.dt is not None and wiring.dt != 1:
        yield Finding("differs", "", f"takes 1 for dt unless from_nir(…, dt={wiring.dt:g}) says it")


def _spyx_leaks(wiring: Wiring) -> Iterator[Finding]:
    for name, _ in wiring.of("LI"):
        if [_kind(wiring.content.nodes[other]) for other in wiring.after[name]] != ["Threshold"]:
            yield Finding("refused", name, "an LI without a Threshold behind it")


def _snntorch_if(wiring: Wiring) -> Iterator[Finding]:
    for name, node in wiring.of("IF"):
        same = (_numbers(node, "r") == 1).all()
        yield Finding("wrong" if same else "refused", name, "takes IF for a leak of 0.9" if same else "an IF whose R is not 1")


def _spikingjelly(wiring: Wiring) -> Iterator[Finding]:
    step = DT if wiring.dt is None else wiring.dt
    for name, node in wiring.of("LIF"):
        tau, r = _numbers(node, "tau", 1.0) / step, _numbers(node, "r", 1.0)
        if not (tau > 1).all():
            yield Finding("refused", name, f"tau/dt is {tau.flat[0]:g}, more than 1 expected")
        if not (_equal(r, 1, rtol=1e-6) or _equal(r, tau, rtol=1e-6)):
            yield Finding("refused", name, f"R is {r.flat[0]:g}, 1 or tau/dt expected")
        if not _equal(_numbers(node, "v_leak"), _numbers(node, "v_reset")):
            yield Finding("refused", name, "v_leak and v_reset differ")
    for name, node in wiring.of("IF"):
        if not _equal(_numbers(node, "r"), 1 / step, rtol=1e-6):
            yield Finding("refused", name, f"R is {_numbers(node, 'r').flat[0]:g}, 1/dt expected")


def _fires_at_the_threshold(wiring: Wiring) -> Iterator[Finding]:
    dialect = wiring.content.metadata.get("dialect")  # a file may hold numbers there
    if not isinstance(dialect, str) or dialect != "spikingjelly":  # which writes the next larger float32
        for name, _ in wiring.of("IF", "LIF", "CubaLIF"):
            yield Finding("differs", name, "fires where the potential equals the threshold, too")


def _norse(wiring: Wiring) -> Iterator[Finding]:
    for name, node in wiring.of("LIF"):
        if not _equal(_numbers(node, "r", 1.0), 1):
            yield Finding("wrong", name, f"R is {_numbers(node, 'r').flat[0]:g}: takes 1 for it (and logs a warning)")
    for name, _ in wiring.of("Flatten"):
        yield Finding("differs", name, "flattens the batch too: give it samples without a batch axis")


def _sinabs(wiring: Wiring) -> Iterator[Finding]:
    for name, node in wiring.of("LIF", "LI"):
        tau = _numbers(node, "tau", 1.0)
        if _numbers(node, "v_leak").ndim > 1 or (node.kind == "LI" and _numbers(node, "r").ndim > 1):
            yield Finding("refused", name, "constants with several axes: fails on them; one number for the layer expected")
        if node.kind == "LI" and not (_numbers(node, "r", 1.0) == 1).all():
            yield Finding("refused", name, "an LI whose R is not 1")
        if (tau < 0.1).any() and wiring.dt != 1:  # in steps, it stands for a decay of 0
            yield Finding("wrong", name, f"takes tau, {tau.flat[0]:g}, for a number of steps: exp(-1/tau) is 0")


def _rockpool(wiring: Wiring) -> Iterator[Finding]:
    for name, _ in wiring.of("LIF"):
        yield Finding("refused", name, "LIF: asks it for tau_mem, which only CubaLIF has")
    for name, _ in wiring.of("LI"):
        yield Finding("wrong", name, "takes the whole part of tau for tau")


def _own_neurons(text: str) -> Rule:
    def rule(wiring: Wiring) -> Iterator[Finding]:
        for name, _ in wiring.of("LIF", "IF", "CubaLIF"):
            yield Finding("differs", name, text)

    return rule


_NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
_LAYERS = ("Affine", "Linear", "Conv1d", "Conv2d")

READERS: dict[str, NirReader] = {
    one.name: one
    for one in (
        NirReader(
            "spikingjelly",
            "SpikingJelly 2.0.0, import_from_nir",
            "spikingjelly",
            (
                _kinds(*_LAYERS, "AvgPool2d", "Flatten", "IF", "LIF", "CubaLIF"),
                _uniform("refused", "one value expected", "IF", "LIF", "CubaLIF"),
                _spikingjelly,
                _fires_at_the_threshold,
                _known_shapes,
            ),
            "fires at v >= threshold, resets to v_reset",
        ),
        NirReader(
            "snntorch",
            "snnTorch 1.0.0, import_from_nir",
            "nir",
            (
                _kinds(*_LAYERS, "AvgPool2d", "SumPool2d", "Flatten", "IF", "LIF", "CubaLIF", "NIRGraph"),
                _snntorch_if,
                _known_shapes,
            ),
            "fires at v > threshold, resets to 0; flattens the batch too",
        ),
        NirReader(
            "norse",
            "Norse 1.1.0, from_nir",
            "norse",
            (
                _kinds("Affine", "Linear", "Conv2d", "Flatten", "IF", "LIF", "CubaLIF", "SumPool2d", otherwise="wrong"),
                _norse,
                _padded_sums("leaves out the padding"),
            ),
            "fires at v > threshold, resets to 0; its dt is to be given to from_nir",
        ),
        NirReader(
            "sinabs",
            "sinabs 3.1.3, from_nir",
            "sinabs",
            (
                _kinds("Affine", "Conv1d", "Conv2d", "Flatten", "IF", "LIF", "LI", "SumPool2d", otherwise="wrong"),
                _sinabs,
                _padded_sums("leaves out the padding"),
                _own_neurons("subtracts the threshold, as often as it goes into the potential; fires at v >= threshold"),
            ),
            "decays by exp(-1/tau), does not scale inputs, any number of spikes in a step; IF potentials stay above -threshold",
        ),
        NirReader(
            "rockpool",
            "Rockpool 3.1.0, from_nir",
            "nir",
            (
                _kinds("Affine", "Linear", "CubaLIF", "LIF", "LI", "NIRGraph"),
                _rockpool,
                _own_neurons("decays by exp(-1/(1 + R)), and subtracts the threshold as often as it goes into the potential"),
            ),
            "takes tau/(1 + R) for dt",
        ),
        NirReader(
            "snn-mlir",
            "snn-mlir 1.0.0, check, export and codegen",
            "snn-mlir",
            (
                _terminals("input", "output"),
                _kinds(*_LAYERS, "SumPool2d", "AvgPool2d", "Flatten", *_NEURONS),
                _joined_at_neurons,
                _plain_convolutions(dilation="refused", groups="refused", text="none expected"),
                _uniform("refused", "one value expected", *_NEURONS),
                _rest("refused", *_NEURONS),
                _step_of_resistance,
                _known_shapes,
            ),
            "resets to 0; with int8 weights it truncates averages",
        ),
        NirReader(
            "spyx",
            "spyx 1.0.0, from_nir",
            "spyx",
            (
                _terminals("input", severity="wrong", text="no node is called 'input': it reads a network of no layers"),
                _kinds(
                    "Affine",
                    "Linear",
                    "Conv2d",
                    "SumPool2d",
                    "Flatten",
                    "IF",
                    "LIF",
                    "CubaLIF",
                    "LI",
                    "NIRGraph",
                    passed=("AvgPool2d", "Conv1d", "Scale", "Threshold", "Delay", "I", "CubaLI"),
                ),
                _chain("wrong", "branches or joins: it follows the first edge alone"),
                _plain_convolutions(dilation="wrong", groups="wrong", text="ignored"),
                _padded_sums("takes any padding for 'same'"),
                _flattened_otherwise,
                _unit_gain("it adds inputs as they are"),
                _spyx_leaks,
                _spyx_step,
                _own_neurons("subtracts the threshold, and spikes a step after the potential that fires"),
            ),
            "keeps the channels last in its arrays",
        ),
        NirReader(
            "snn2mcu",
            "snn2mcu's C generator V2",
            "nir",
            (
                _terminals("input"),
                _one_axis,
                _kinds("Affine", "Linear", "LIF", otherwise="wrong"),
                _chain("wrong", "branches or joins: it follows one edge alone"),
                _microcontroller,
                _unit_gain("it adds inputs as they are", dt=DT),
            ),
            "has weights, thresholds and potentials in Q15 of a sixtieth; takes 0.0001 for dt",
        ),
        NirReader(
            "nir2fpga",
            "NIR2FPGA, quantisation and compilation",
            "nir2fpga",
            (
                _terminals("input", "output"),
                _one_axis,
                _chain("refused", "branches or joins: a chain expected"),
                _kinds("Affine", "Linear", "IF", "LIF", "LI", "I"),
                _steps,
                _uniform("wrong", "it takes the first", "IF", "LIF", "LI", "I"),
            ),
            "takes time constants for numbers of steps, all numbers for fixed-point ones",
        ),
    )
}
