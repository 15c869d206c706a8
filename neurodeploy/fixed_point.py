"""The fixed-point update of a Loihi CUBA-LIF neuron, written once: integers only, bit for bit as Lava's `fixed_pt` models.

The graph interpreter and the `.net` simulator both call `cuba_step`. With `i_decay` = 4096 (no synaptic memory) and hard reset
it is the integer form of `neurodeploy.neurons.neuron_step` with λ = 1 − v_decay / 4096.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

Integers = TypeVar("Integers", bound=Any)

_WRAP = 1 << 23  # u is a signed 24-bit register that wraps, v one that saturates


@dataclass(frozen=True, eq=False)
class CubaParameters:
    """Constants of a CUBA-LIF layer, in Loihi's integer units.

    Attributes:
        i_decay: 0 … 4096, share of the synaptic current lost per step in 1/4096; a number, or an array per neuron that
            broadcasts against the state.
        v_decay: the same for the membrane potential.
        threshold: `vThMant`; a spike is fired when `v > threshold · 64`.
        bias: added every step as `bias · 64`; a number or an array that broadcasts against the state.
    """

    i_decay: Any = 4096
    v_decay: Any = 0
    threshold: Any = 1
    bias: Any = 0


def cuba_step(u: Integers, v: Integers, a: Integers, parameters: CubaParameters) -> tuple[Any, Integers, Integers]:
    """One time step.

    ```
    u' = rtz(u (4096 − i_decay) / 4096) + 64 a        wrapped once into (−2²³, 2²³]
    v' = rtz(v (4096 − v_decay) / 4096) + u' + 64 bias        clipped to ±(2²³ − 1)
    s  = v' > 64 threshold (strict);   v' = 0 where s;   u' is kept
    ```

    `rtz` rounds towards zero.

    Source: lava-nc `lif` fixed-point process models.

    Args:
        u: synaptic current after the previous step, 64-bit integers, any shape; numpy or torch.
        v: membrane potential after the previous step, same shape.
        a: integer sum delivered by the synapses in this step, same shape.
        parameters: constants of the layer.

    Returns:
        `(s, u, v)`: spikes (boolean), and the state after the step.
    """
    u = _decayed(u, parameters.i_decay) + a * 64
    u = u - (u > _WRAP) * (2 * _WRAP) + (u <= -_WRAP) * (2 * _WRAP)
    v = _decayed(v, parameters.v_decay) + u + parameters.bias * 64
    v = v.clip(1 - _WRAP, _WRAP - 1)
    s = v > parameters.threshold * 64
    return s, u, v * ~s


def _decayed(x: Integers, decay: Any) -> Integers:
    scaled = x * (4096 - decay)
    # >> rounds down; adding 4095 to negative numbers only (their sign bits are all ones) makes it round towards zero
    return (scaled + ((scaled >> 63) & 4095)) >> 12
