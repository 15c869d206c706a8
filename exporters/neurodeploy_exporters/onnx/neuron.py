"""What goes through time in ONNX: local functions whose body is one `Scan` over the steps.

There is one function per kind and input rank: ONNX Runtime before 1.24 runs a `Scan` body only if its tensors have ranks.
"""

import onnx
from onnx import TensorProto, helper

from neurodeploy.neurons import Reset

DOMAIN = "ai.neurodeploy"
_OPSET = 18


def neuron_function(reset: Reset, rank: int) -> onnx.FunctionProto:
    """`(current [T, B, …], v0 [B, …], decay, threshold) → (spikes [T, B, …], v [B, …])`.

    The body is `neurodeploy.neurons.neuron_step`, operation by operation: `h = λ v + I`, `s = h > θ`, then
    `v = h (1 − s)` for the hard reset, `v = h − θ s` for the soft one, `v = h` without reset.
    """
    members = [
        helper.make_node("Mul", ["v_before", "decay"], ["kept"]),
        helper.make_node("Add", ["kept", "current_t"], ["h"]),
        helper.make_node("Greater", ["h", "threshold"], ["fired"]),
        helper.make_node("Cast", ["fired"], ["spikes_t"], to=TensorProto.FLOAT),
    ]
    if reset == "hard":
        one = helper.make_tensor("one_value", TensorProto.FLOAT, [], [1.0])
        members += [
            helper.make_node("Constant", [], ["one"], value=one),
            helper.make_node("Sub", ["one", "spikes_t"], ["silent"]),
            helper.make_node("Mul", ["h", "silent"], ["v_after"]),
        ]
    elif reset == "none":
        members.append(helper.make_node("Identity", ["h"], ["v_after"]))
    else:
        members += [
            helper.make_node("Mul", ["threshold", "spikes_t"], ["subtracted"]),
            helper.make_node("Sub", ["h", "subtracted"], ["v_after"]),
        ]
    step = _step(f"{reset}_step", members, ("v_before", "current_t"), ("v_after", "spikes_t"), rank - 1)
    return _over_time(
        f"LIF_{reset}_r{rank}", ["current", "v0", "decay", "threshold"], ["spikes", "v"], step, neuron_function.__doc__
    )


def low_pass_function(rank: int) -> onnx.FunctionProto:
    """`(x [T, B, …], i0 [B, …], decay) → (currents [T, B, …], i [B, …])`: `neurodeploy.neurons.synapse_step`, `i = α i + x`."""
    members = [
        helper.make_node("Mul", ["i_before", "decay"], ["kept"]),
        helper.make_node("Add", ["kept", "x_t"], ["i_after"]),
        helper.make_node("Identity", ["i_after"], ["currents_t"]),
    ]
    step = _step("low_pass_step", members, ("i_before", "x_t"), ("i_after", "currents_t"), rank - 1)
    return _over_time(f"LowPass_r{rank}", ["x", "i0", "decay"], ["currents", "i"], step, low_pass_function.__doc__)


def _over_time(
    name: str, inputs: list[str], outputs: list[str], step: onnx.GraphProto, explanation: str | None
) -> onnx.FunctionProto:
    """A function of a sequence and a state, its first two inputs, that gives a sequence and the last state."""
    sequence, state = inputs[:2]
    scan = helper.make_node("Scan", [state, sequence], outputs[::-1], body=step, num_scan_inputs=1, name="over_time")
    return helper.make_function(
        DOMAIN, name, inputs, outputs, [scan], [helper.make_opsetid("", _OPSET)], doc_string=explanation
    )


def _step(
    name: str, members: list[onnx.NodeProto], inputs: tuple[str, ...], outputs: tuple[str, ...], rank: int
) -> onnx.GraphProto:
    dims = [f"axis{i}" for i in range(rank)]
    before, after = (
        [helper.make_tensor_value_info(one, TensorProto.FLOAT, dims) for one in names] for names in (inputs, outputs)
    )
    return helper.make_graph(members, name, before, after)
