"""What goes through time in ONNX: local functions whose body is one `Scan` over the steps.

There is one function per kind and input rank: ONNX Runtime before 1.24 runs a `Scan` body only if its tensors have ranks. The
constants of a layer are attributes of its call. Single operators are slow beside a convolution's sums: bodies have few of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import frexp

import numpy as np
import onnx
from onnx import TensorProto, helper, parser

from neurodeploy.dynamics.neurons import NeuronParameters, Reset

DOMAIN = "ai.neurodeploy"
_OPSET = 18
_SIGNIFICAND = 24  # bits, of a float32
_LARGEST_EXPONENT = 100


@dataclass(frozen=True)
class Step:
    """One time step of a recurrent operation, in ONNX's own text.

    Attributes:
        text: assignments of one operator each, such as `kept = Mul(decay, v)`. They read the input `x`, the states and the
            constants by their names, and make the output `y` and `<state>_next` of every state.
        constants: name → value; float32 in the model.
        variant: one word that tells texts of the same operation apart; empty if there is only one.
    """

    text: str
    constants: Mapping[str, float]
    variant: str = ""


def step_function(kind: str, states: tuple[str, ...], step: Step, rank: int) -> onnx.FunctionProto:
    """`(x [T, B, …], <state>0 [B, …] …) → (y [T, B, …], <state> [B, …] …)`, with the step's constants as attributes.

    Args:
        kind: of the operation.
        states: their names; all begin with zeros.
        step: what each time step computes.
        rank: of the input.
    """
    tensor = f"float[{', '.join(f'axis{axis}' for axis in range(rank - 1))}]"
    before, after = ([*states, "x"], [*(f"{state}_next" for state in states), "y"])
    typed = (", ".join(f"{tensor} {name}" for name in names) for names in (before, after))
    body = parser.parse_graph("step ({}) => ({}) {{ {} }}".format(*typed, step.text))
    starts = [f"{state}0" for state in states]
    scan = helper.make_node("Scan", [*starts, "sequence"], [*states, "made"], body=body, num_scan_inputs=1, name="over_time")
    return helper.make_function(
        DOMAIN,
        "_".join(part for part in (kind, step.variant, f"r{rank}") if part),
        ["sequence", *starts],
        ["made", *states],
        [*(_with("Constant", [], name, value_float=name) for name in step.constants), scan],
        [helper.make_opsetid("", _OPSET)],
        attributes=list(step.constants),
    )


def neuron_function(reset: Reset, rank: int) -> onnx.FunctionProto:
    """`(current [T, B, …], v0 [B, …]) → (spikes [T, B, …], v [B, …])`, with the attributes of `neuron_attributes`.

    `dynamics.neurons.neuron_step` with all its roundings: `h = λ v + I`, `s = h > θ`, then `v = h (1 − s)` for the hard
    reset, `v = h − θ s` for the soft one, `v = h` without reset. A HardSigmoid, `clip(slope h + offset, 0, 1)`, does the
    comparison: no float32 lies on its slope. The hard reset goes by −h and −v, `v0` and `v` too: one ThresholdedRelu makes −v
    of −h, 0 where it is at most `floor`. Only the soft reset needs spikes step by step; else they are made of all h at once.
    """
    constants = [_with("Constant", [], "decay", value_float="decay")]
    charge = "Sub" if reset == "hard" else "Add"
    inside = [helper.make_node("Mul", ["v_before", "decay"], ["kept"]), helper.make_node(charge, ["kept", "current_t"], ["h"])]
    if reset == "soft":
        constants.append(_with("Constant", [], "threshold", value_float="threshold"))
        inside += [
            _fire("h", "spikes_t"),
            helper.make_node("Mul", ["threshold", "spikes_t"], ["subtracted"]),
            helper.make_node("Sub", ["h", "subtracted"], ["v_after"]),
        ]
        step = _step("soft_step", inside, ("v_before", "current_t"), ("v_after", "spikes_t"), rank - 1)
        members = [_over_time(step, "current", "spikes", ("v0", "v"))]
    else:
        after = _with("ThresholdedRelu", ["h"], "v_after", alpha="floor")
        inside.append(after if reset == "hard" else helper.make_node("Identity", ["h"], ["v_after"]))
        step = _step(f"{reset}_step", inside, ("v_before", "current_t"), ("v_after", "h"), rank - 1)
        members = [_over_time(step, "current", "potentials", ("v0", "v")), _fire("potentials", "spikes")]
    return helper.make_function(
        DOMAIN,
        f"LIF_{reset}_r{rank}",
        ["current", "v0"],
        ["spikes", "v"],
        [*constants, *members],
        [helper.make_opsetid("", _OPSET)],
        attributes=["decay", "threshold", "slope", "offset", *(["floor"] if reset == "hard" else [])],
        doc_string=neuron_function.__doc__,
    )


def _fire(potential: str, spikes: str) -> onnx.NodeProto:
    return _with("HardSigmoid", [potential], spikes, alpha="slope", beta="offset")


def neuron_attributes(parameters: NeuronParameters) -> dict[str, float]:
    """`decay` and `threshold`, λ and θ in float32, and what follows from θ: `slope`, `offset` and, of the hard reset, `floor`.

    The slope is a power of two, and θ and all float32 above it are whole multiples of its inverse: `slope h + offset` is at
    least 1 if h > θ and at most 0 if not, whatever is rounded on the way.

    Raises:
        ValueError: θ is so small or large that float32 has no such slope.
    """
    if not 2.0**-_LARGEST_EXPONENT <= parameters.threshold <= 2.0**_LARGEST_EXPONENT:
        raise ValueError(f"threshold {parameters.threshold:g} found, 2^-{_LARGEST_EXPONENT} to 2^{_LARGEST_EXPONENT} expected")
    threshold = np.float32(parameters.threshold)
    _, exponent = frexp(threshold)
    slope = 2.0 ** (_SIGNIFICAND - exponent)
    found = {"decay": float(np.float32(parameters.decay)), "threshold": float(threshold), "offset": -slope * float(threshold)}
    if parameters.reset != "hard":
        return found | {"slope": slope}
    # of h = −v: v ≤ θ is h ≥ −θ, which is above the next float32 below −θ
    return found | {"slope": -slope, "floor": float(np.nextafter(-threshold, -np.inf, dtype=np.float32))}


def low_pass_function(rank: int) -> onnx.FunctionProto:
    """`(x [T, B, …], i0 [B, …]) → (currents [T, B, …], i [B, …])`: `dynamics.neurons.synapse_step`, `i = decay i + x`."""
    inside = [
        helper.make_node("Mul", ["i_before", "decay"], ["kept"]),
        helper.make_node("Add", ["kept", "x_t"], ["i_after"]),
        helper.make_node("Identity", ["i_after"], ["currents_t"]),
    ]
    step = _step("low_pass_step", inside, ("i_before", "x_t"), ("i_after", "currents_t"), rank - 1)
    return helper.make_function(
        DOMAIN,
        f"LowPass_r{rank}",
        ["x", "i0"],
        ["currents", "i"],
        [_with("Constant", [], "decay", value_float="decay"), _over_time(step, "x", "currents", ("i0", "i"))],
        [helper.make_opsetid("", _OPSET)],
        attributes=["decay"],
        doc_string=low_pass_function.__doc__,
    )


def delay_function(rank: int) -> onnx.FunctionProto:
    """`(both [L + T, B, …], sequence [T, B, …], delays) → late [T, B, …]`, for neurons that are not all as late.

    `both` is the sequence behind the last L values before it, L the longest delay: value t of a neuron is its value t + L −
    delay of them. Delays broadcast against one sample.
    """
    axes = helper.make_tensor("axes", TensorProto.INT64, [rank - 1], list(range(1, rank)))
    members = [
        helper.make_node("Shape", ["sequence"], ["sizes"]),
        helper.make_node("Shape", ["sequence"], ["steps"], start=0, end=1),
        helper.make_node("Shape", ["both"], ["all_steps"], start=0, end=1),
        helper.make_node("Squeeze", ["all_steps"], ["end"]),
        helper.make_node("Sub", ["all_steps", "steps"], ["longest"]),
        helper.make_node("Squeeze", ["longest"], ["first"]),
        helper.make_node("Constant", [], ["one"], value_int=1),
        helper.make_node("Range", ["first", "end", "one"], ["numbers"]),
        helper.make_node("Constant", [], ["sample"], value=axes),
        helper.make_node("Unsqueeze", ["numbers", "sample"], ["column"]),
        helper.make_node("Sub", ["column", "delays"], ["places"]),
        helper.make_node("Expand", ["places", "sizes"], ["each"]),
        helper.make_node("GatherElements", ["both", "each"], ["late"], axis=0),
    ]
    return helper.make_function(
        DOMAIN,
        f"Delay_r{rank}",
        ["both", "sequence", "delays"],
        ["late"],
        members,
        [helper.make_opsetid("", _OPSET)],
        doc_string=delay_function.__doc__,
    )


def _over_time(step: onnx.GraphProto, sequence: str, made: str, states: tuple[str, str]) -> onnx.NodeProto:
    """The sequence that `step` makes of another one, and the state after it of the one before it."""
    before, after = states
    return helper.make_node("Scan", [before, sequence], [after, made], body=step, num_scan_inputs=1, name="over_time")


def _with(kind: str, inputs: list[str], output: str, **references: str) -> onnx.NodeProto:
    """An operator with attributes of the function that it is in: own name → the function's."""
    node = helper.make_node(kind, inputs, [output])
    for own, function in references.items():
        node.attribute.add(name=own, ref_attr_name=function, type=onnx.AttributeProto.FLOAT)
    return node


def _step(
    name: str, members: list[onnx.NodeProto], inputs: tuple[str, ...], outputs: tuple[str, ...], rank: int
) -> onnx.GraphProto:
    dims = [f"axis{i}" for i in range(rank)]
    before, after = (
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, dims) for one in names] for names in (inputs, outputs)
    )
    return helper.make_graph(members, name, before, after)
