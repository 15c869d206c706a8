"""The spiking layer in ONNX: a local function whose body is one `Scan` over time.

There is one function per reset and input rank: ONNX Runtime before 1.24 runs a `Scan` body only if its tensors have ranks.
"""

import onnx
from onnx import TensorProto, helper

from neurodeploy.neurons import Reset

DOMAIN = "ai.neurodeploy"
_OPSET = 18


def function_name(reset: Reset, rank: int) -> str:
    """Name of the function for inputs `[T, B, …]` of `rank` axes."""
    return f"LIF_{reset}_r{rank}"


def neuron_function(reset: Reset, rank: int) -> onnx.FunctionProto:
    """`(current [T, B, …], v0 [B, …], decay, threshold) → (spikes [T, B, …], v [B, …])`.

    The body is `neurodeploy.neurons.neuron_step`, operation by operation: `h = λ v + I`, `s = h > θ`, then
    `v = h (1 − s)` for the hard reset, `v = h − θ s` for the soft one, `v = h` without reset.
    """
    scan = helper.make_node(
        "Scan", ["v0", "current"], ["v", "spikes"], body=_step(reset, rank - 1), num_scan_inputs=1, name="over_time"
    )
    return helper.make_function(
        DOMAIN,
        function_name(reset, rank),
        ["current", "v0", "decay", "threshold"],
        ["spikes", "v"],
        [scan],
        [helper.make_opsetid("", _OPSET)],
        doc_string=neuron_function.__doc__,
    )


def _step(reset: Reset, rank: int) -> onnx.GraphProto:
    dims = [f"axis{i}" for i in range(rank)]
    before, current, after, spikes = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name in ("v_before", "current_t", "v_after", "spikes_t")
    )
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
    return helper.make_graph(members, f"{reset}_step", [before, current], [after, spikes])
