"""SpikingJelly's neurons, whose steps its own kernels compute: IF, LIF and parametric LIF neurons, in both step modes.

```
H[t] = V[t−1] + X[t]                                             IF
H[t] = V[t−1] + (X[t] − (V[t−1] − V_reset)) / τ                  LIF whose input decays
H[t] = V[t−1] − (V[t−1] − V_reset) / τ + X[t]                    LIF whose input does not
S[t] = 1 if H[t] ≥ θ;   V[t] = (1 − S) H + S V_reset,  or  H − S θ where V_reset is None
```

A parametric LIF neuron multiplies by σ(w) in place of the division. Source: SpikingJelly 2.0, its documentation and results.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neurodeploy.graph.tracing.opening import Refusal, State, forgets, opens

_Charge = Callable[[Any, Tensor, Tensor], Tensor]


def _names(*files: str, kind: str) -> list[str]:
    """Where versions have a class."""
    return [f"spikingjelly.activation_based.neuron{file}.{kind}" for file in ("", *files)]


@opens(*_names(".integrate_and_fire", kind="IFNode"))
def _if_node(layer: Any, state: State, x: Tensor) -> Tensor:
    return _fired(layer, state, x, lambda _, v, x: v + x)


@opens(*_names(".lif", kind="LIFNode"))
def _lif_node(layer: Any, state: State, x: Tensor) -> Tensor:
    return _fired(layer, state, x, _decayed if layer.decay_input else _leaking)


def _decayed(layer: Any, v: Tensor, x: Tensor) -> Tensor:
    return v + (x - (v - (layer.v_reset or 0.0))) / layer.tau


def _leaking(layer: Any, v: Tensor, x: Tensor) -> Tensor:
    return v - (v - (layer.v_reset or 0.0)) / layer.tau + x


@opens(*_names(".plif", kind="ParametricLIFNode"))
def _parametric_node(layer: Any, state: State, x: Tensor) -> Tensor:
    share = layer.w.float().sigmoid()

    def charged(layer: Any, v: Tensor, x: Tensor) -> Tensor:
        difference = v - (layer.v_reset or 0.0)
        return v + (x - difference) * share if layer.decay_input else v - difference * share + x

    return _fired(layer, state, x, charged)


def _fired(layer: Any, state: State, x: Tensor, charge: _Charge) -> Tensor:
    if not getattr(layer.surrogate_function, "spiking", True):
        raise Refusal("its surrogate function answers no spikes (spiking=False); set spiking=True to deploy it")
    if layer.step_mode == "s":
        return _step(layer, state, x, charge)
    return torch.stack([_step(layer, state, x[t], charge) for t in range(len(x))])


def _step(layer: Any, state: State, x: Tensor, charge: _Charge) -> Tensor:
    start = layer.v_reset or 0.0
    v = state.get("v")
    h = charge(layer, torch.full_like(x, start) if v is None else v, x)
    spikes = (h >= layer.v_threshold).to(x.dtype)
    if layer.v_reset is None:
        state["v"] = h - spikes * layer.v_threshold
    else:
        state["v"] = (1.0 - spikes) * h + spikes * layer.v_reset
    return spikes


@forgets("spikingjelly.activation_based.base.MemoryModule")
def _reset(layer: Any) -> None:
    layer.reset()
