"""Updates that are those of standard neurons, written as frameworks write them, and what becomes of their cells."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neurodeploy.dynamics.forms import NoForm, StandardForm, standard_form
from neurodeploy.dynamics.neurons import NeuronParameters
from neurodeploy.dynamics.updates import Instruction, Operand, Update
from neurodeploy.graph import Graph, interpreter, ops
from neurodeploy.graph.standard import leaky, standardized, why_not


class Value:
    """Writes down what is computed with it."""

    def __init__(self, operand: Operand, program: list[Instruction]) -> None:
        self.operand, self.program = operand, program

    def made(self, operation: str, *values: Any) -> "Value":
        operands = tuple(value.operand if isinstance(value, Value) else ("number", value) for value in values)
        self.program.append(Instruction(operation, operands))
        return Value(("result", len(self.program) - 1), self.program)

    def where(self, a: Any, b: Any) -> "Value":
        return self.made("where", self, a, b)


def _operator(name: str, operation: str, *, reflected: bool = False) -> None:
    def method(self: Value, other: Any) -> Value:
        return self.made(operation, other, self) if reflected else self.made(operation, self, other)

    setattr(Value, name, method)


for _short, _operation in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("truediv", "div")):
    _operator(f"__{_short}__", _operation)
    _operator(f"__r{_short}__", _operation, reflected=True)
for _short in ("gt", "ge", "lt", "le"):
    _operator(f"__{_short}__", _short)


def update_of(function: Callable[..., tuple[Any, ...]], *initial: float, inputs: int = 1) -> Update:
    """Of `(states …, inputs …, arrays …) → (answer, states …)`."""
    program: list[Instruction] = []
    arrays = function.__code__.co_argcount - len(initial) - inputs
    places = [("state", len(initial)), ("input", inputs), ("array", arrays)]
    values = [Value((place, number), program) for place, count in places for number in range(count)]
    made = [one.operand if isinstance(one, Value) else ("number", one) for one in function(*values)]
    return Update(inputs, tuple(program), tuple(("number", v) for v in initial), tuple(made[1:]), made[0])


def charge_towards_rest(v, x):
    h = v + (x - (v - 0.1)) / 2.0
    s = h >= 1.0
    return s, (1 - s) * h + s * 0.1


def subtract(v, x):
    h = v * 0.75 + x
    s = h > 1.0
    return s, h - s * 1.0


def difference_compared(v, x):
    h = v * 0.75 + x
    s = (h - 1.0) > 0
    return s, s.where(0.0, h)


def below(v, x):
    h = v * 0.75 + x
    silent = h < 1.0
    return 1 - silent, silent.where(h, 0.0)


def delayed_subtract(v, x):
    h = 0.75 * v + x - (v > 1.0) * 1.0
    return h > 1.0, h


def delayed_subtract_without_leak(v, x):
    h = v + x - (v > 1.0) * 1.0
    return h > 1.0, h


def delayed_zero(v, x):
    charged = 0.75 * v + x
    h = charged - (v > 1.0) * charged
    return h > 1.0, h


def spike_kept(v, s, x):
    v = 0.75 * v * (1 - s) + x
    s = v > 0.5
    return s, v, s


def no_reset(v, x):
    h = 0.5 * v + x
    return h > 1.0, h


def memoryless(x):
    return (x * 2.0 > 1.0,)


def current_first(i, v, x):
    i = 0.5 * i + x
    h = 0.75 * v + 0.25 * i
    s = h > 0.5
    return s, i, s.where(0.0, h)


def current_of_the_last_step(v, i, x):
    h = v + 0.25 * ((0.0 - v) + i)
    s = (h - 0.25) > 0
    return s, (1 - s) * h + s * 0.0, i - 0.5 * i + x


def two_inputs(v, x, y):
    h = 0.75 * v + x * 0.5 + y * 2.0
    s = h > 1.0
    return s, s.where(0.0, h)


def bias(v, x):
    h = 0.75 * v + x + 0.125
    s = h > 1.0
    return s, s.where(0.0, h)


def threshold_of_each(v, x, theta):
    h = 0.75 * v + x
    s = h > theta
    return s, h - s * theta


def decay_of_each(v, x, decay):
    h = decay * v + x * 0.5
    s = h >= 1.0
    return s, s.where(0.0, h)


def read_out(v, x):
    v = v + 0.25 * (x - v)
    return v, v


def read_out_of_current(i, v, x):
    i = 0.5 * i + x
    v = 0.75 * v + i
    return v * 2.0 + 1.0, i, v


def adaptive(v, a, x):
    h = 0.75 * v + x
    s = h > 1.0 + a * 0.5
    return s, s.where(0.0, h), a * 0.9 + s


def refractory(v, r, x):
    h = 0.75 * v + x * (r < 1.0)
    s = h > 1.0
    return s, s.where(0.0, h), s.where(2.0, r - 1.0)


def quadratic(v, x):
    h = v + v * v + x
    s = h > 1.0
    return s, s.where(0.0, h)


def bounded(v, x):
    h = (0.75 * v + x).made("maximum", 0.75 * v + x, -1.0)
    s = h > 1.0
    return s, s.where(0.0, h)


def partial_reset(v, x):
    h = 0.75 * v + x
    s = h > 1.0
    return s, h - s * h * 0.5


def begins_elsewhere(v, x):
    h = 0.75 * v + x
    s = h > 1.0
    return s, s.where(0.0, h)


def network(update: Update, *arrays: np.ndarray, kind: type[ops.Updated] = ops.CellNode) -> Graph:
    rng, inputs = np.random.default_rng(0), update.inputs
    weights = rng.integers(-8, 12, (inputs, 40, 30)).astype(np.float32) / 32
    layers = [ops.LinearNode(name=f"fc{n}", inputs=("input",), weight=w, bias=w[:, 0]) for n, w in enumerate(weights)]
    members = [
        ops.InputNode(name="input", shape=(30,), timed=True),
        *layers,
        kind(name="op", inputs=tuple(layer.name for layer in layers), update=update, arrays=arrays),
        ops.TimeMeanNode(name="mean", inputs=("op",)),
        ops.OutputNode(name="logits", inputs=("mean",)),
    ]
    return Graph(members)


EACH = np.linspace(0.5, 0.9, 40, dtype=np.float32)
SPIKING = {
    charge_towards_rest: ([0.1], "Neuron"),
    subtract: ([0], "Neuron"),
    difference_compared: ([0], "Neuron"),
    below: ([0], "Neuron"),
    delayed_subtract_without_leak: ([0], "Neuron"),
    spike_kept: ([0, 0], "Neuron"),
    no_reset: ([0], "Neuron"),
    memoryless: ([], "Neuron"),
    current_first: ([0, 0], "LowPass Neuron"),
    current_of_the_last_step: ([0, 0], "LowPass Delay Neuron"),
    two_inputs: ([0], "Add Neuron"),
    bias: ([0], "Neuron"),
    threshold_of_each: ([0], "Neuron"),
}
OTHERS = {
    delayed_subtract: ([0], "a spike subtracts another number than the threshold, .* reset without delay"),
    delayed_zero: ([0], "its neurons lose the input of the step after a spike, as a delayed reset to zero does"),
    adaptive: ([0, 0], "its neurons carry values from step to step that depend on each other, as an adapting threshold does"),
    refractory: ([0, 0], "its neurons carry values from step to step that depend on each other"),
    quadratic: ([0], "its neurons multiply potentials or currents with each other"),
    bounded: ([0], "its neurons compute the operation maximum of a potential or current"),
    partial_reset: ([0], "its neurons reset a part of their potential"),
    begins_elsewhere: ([0.5], "its potential begins with another value than a reset leaves"),
}


def named(function: Any) -> str:
    return getattr(function, "__name__", "")


@pytest.mark.parametrize("function", SPIKING, ids=named)
def test_a_standard_neuron_is_one_however_it_is_written_and_fires_the_same_spikes(function):
    initial, expected = SPIKING[function]
    update = update_of(function, *initial, inputs=2 if function is two_inputs else 1)
    graph = network(update, *([EACH] if function is threshold_of_each else []))
    made = standardized(graph)
    assert made.replaced == ("op",)
    layers = [node.kind for node in made.graph.nodes if not isinstance(node, ops.Weighted)]
    assert " ".join(layers[1:-2]) == expected
    x = np.random.default_rng(1).integers(0, 2, (30, 20, 30)).astype(np.float32)
    before, after = (interpreter.run(one, x)["op"] for one in (graph, made.graph))
    assert 0.02 < before.mean() < 0.98
    assert np.count_nonzero(before != after) <= 1e-4 * before.size


@pytest.mark.parametrize("function", OTHERS, ids=named)
def test_what_is_none_stays_as_it_is_and_says_why(function):
    initial, reason = OTHERS[function]
    graph = network(update_of(function, *initial))
    made = standardized(graph, arrays=True)
    assert made.replaced == ()
    assert made.graph["op"] is graph["op"]
    assert re.fullmatch(f"{reason}.*", why_not(graph["op"], (40,), arrays=True))


def test_a_delayed_reset_acts_on_the_potential_before_its_leak():
    form = standard_form(update_of(delayed_subtract, 0), [])
    assert isinstance(form, StandardForm)
    assert (form.reset, float(form.amount), float(form.threshold)) == ("soft", pytest.approx(1 / 0.75), 1.0)


def test_the_constants_of_a_form_are_those_of_the_equation():
    form = standard_form(update_of(charge_towards_rest, 0.1), [])
    assert isinstance(form, StandardForm)
    numbers = [float(one) for one in (form.decay, form.gains[0], form.bias, form.threshold, form.level)]
    assert numbers == pytest.approx([0.5, 0.5, 0.05, 1.0, 0.1])
    assert not form.strict
    neuron = standardized(network(update_of(charge_towards_rest, 0.1))).graph["op"].parameters
    # in units of the gain, from the level of the reset on, and at least as the next smaller number
    assert neuron == NeuronParameters(0.5, float(np.nextafter(np.float32(1.8), np.float32(0))), "hard")


def test_neurons_that_differ_within_a_layer_become_a_leaky_cell_where_arrays_are_allowed():
    graph = network(update_of(decay_of_each, 0), EACH)
    assert standardized(graph).replaced == ()
    assert why_not(graph["op"], (40,)) == "its decay differs between neurons"
    made = standardized(graph, arrays=True)
    constants = leaky(made.graph["op"])
    assert constants is not None
    assert constants.reset == "hard"
    assert np.array_equal(constants.decay, EACH)
    assert (constants.threshold == np.nextafter(np.float32(2), np.float32(0))).all()
    x = np.random.default_rng(1).integers(0, 2, (30, 20, 30)).astype(np.float32)
    before, after = (interpreter.run(one, x)["op"] for one in (graph, made.graph))
    assert np.array_equal(before, after)
    assert standardized(made.graph, arrays=True).replaced == ()


@pytest.mark.parametrize(("function", "initial"), [(read_out, [0]), (read_out_of_current, [0, 0])], ids=named)
def test_membranes_are_filters(function, initial):
    graph = network(update_of(function, *initial), kind=ops.MembraneNode)
    made = standardized(graph)
    assert made.replaced == ("op",)
    assert not made.graph.of(ops.Updated)
    x = np.random.default_rng(1).integers(0, 2, (30, 20, 30)).astype(np.float32)
    before, after = (interpreter.run(one, x)["op"] for one in (graph, made.graph))
    assert np.allclose(before, after, atol=1e-4)


def test_a_cell_that_answers_no_spikes_and_a_membrane_that_does_are_neither():
    cell = ops.CellNode(name="op", inputs=("fc",), update=update_of(read_out, 0))
    membrane = ops.MembraneNode(name="op", inputs=("fc",), update=update_of(subtract, 0))
    assert why_not(cell, (3,)) == "its neurons never fire"
    assert why_not(membrane, (3,)) == "its answers are spikes"


def test_a_threshold_below_the_reset_is_no_standard_neuron():
    def low(v, x):
        h = 0.5 * v + x
        s = h > -1.0
        return s, s.where(0.0, h)

    node = ops.CellNode(name="op", inputs=("fc",), update=update_of(low, 0))
    assert why_not(node, (3,)) == "its threshold is not above the potential that a reset leaves"


def test_a_form_of_no_sums_is_refused_with_its_operation():
    found = standard_form(update_of(quadratic, 0), [])
    assert found == NoForm("multiply potentials or currents with each other")
