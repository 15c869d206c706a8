"""The frameworks' neurons once more, in numpy, as their documentation and sources state them.

A recording is believed only if every spike of it follows from what its neuron was given. The order of the operations is that of
the frameworks, so that float32 rounds alike; a constant is one number, or an array with one for every neuron.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Constants = Mapping[str, Any]
_F = np.float32


def fired(kind: str, given: Array, constants: Constants, weights: Mapping[str, Array]) -> Array:
    """The spikes of a neuron.

    Args:
        kind: class of the neuron.
        given: `[T, B, …]`.
        constants: of the neuron; see `Framework.constants`.
        weights: of the neuron itself, by their names in it; recurrent neurons have some.

    Returns:
        `[T, B, …]`.

    Raises:
        KeyError: no equation is known for neurons of this kind.
    """
    exact = {key: _F(value) if isinstance(value, float) else value for key, value in constants.items()}
    return np.stack([np.asarray(spikes, _F) for spikes in _STEPS[kind](given, exact, weights)])


def _spikingjelly(charge: Callable[[Array, Array, Constants], Array]) -> Callable[..., Iterable[Array]]:
    """Fires at v ≥ threshold; then v is `v_reset`, or `v_threshold` less where that is None."""

    def steps(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
        start = _F(0) if c["v_reset"] is None else c["v_reset"]
        v = np.full_like(given[0], start)
        for x in given:
            h = charge(x, v, {**c, "rest": start})
            spike = (h - c["v_threshold"] >= 0).astype(_F)
            v = h - spike * c["v_threshold"] if c["v_reset"] is None else (1 - spike) * h + spike * c["v_reset"]
            yield spike

    return steps


def _lif_node(x: Array, v: Array, c: Constants) -> Array:
    if c["decay_input"]:
        return v + (x - (v - c["rest"])) / c["tau"]
    return v - (v - c["rest"]) / c["tau"] + x


def _plif_node(x: Array, v: Array, c: Constants) -> Array:
    if c["decay_input"]:
        return v + (x - (v - c["rest"])) * c["reciprocal_tau"]
    return v - (v - c["rest"]) * c["reciprocal_tau"] + x


def _cuba_node(given: Array, c: Constants, weights: Mapping[str, Array]) -> Iterable[Array]:
    current, currents = np.zeros_like(given[0]), []
    for x in given:
        current = current * c["c_decay"] + x
        currents.append(current)
    return _spikingjelly(lambda x, v, c: v * c["v_decay"] + x)(np.stack(currents), c, weights)


def _snntorch(given: Array, c: Constants, recurrent: Callable[[Array], Array] | None = None) -> Iterable[Array]:
    """Fires at v > threshold. The reset follows from the potential before, one step late, unless `reset_delay` is False."""
    v = spike = np.zeros_like(given[0])
    beta, threshold = np.clip(c["beta"], 0, 1), c["threshold"]
    for x in given:
        before = (v - threshold > 0).astype(_F)
        if c["reset_mechanism"] == "zero":
            v = (1 - before) * v
        v = beta * v + x
        if recurrent is not None:
            v = v + recurrent(spike)
        if c["reset_mechanism"] == "subtract":
            v = v - before * threshold
        spike = (v - threshold > 0).astype(_F)
        if not c["reset_delay"]:
            now = spike - before
            v = v - now * {"subtract": threshold, "zero": v, "none": 0}[c["reset_mechanism"]]
        yield spike


def _rleaky(given: Array, c: Constants, weights: Mapping[str, Array]) -> Iterable[Array]:
    if "V" in c and "recurrent.weight" not in weights:
        return _snntorch(given, c, lambda spike: spike * c["V"])
    return _snntorch(given, c, lambda spike: spike @ weights["recurrent.weight"].T + weights["recurrent.bias"])


def _synaptic(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    """A reset to zero leaves the current as it is."""
    current = v = np.zeros_like(given[0])
    for x in given:
        before = (v - c["threshold"] > 0).astype(_F)
        current = c["alpha"] * current + x
        v = c["beta"] * v + current
        v = v - before * (c["threshold"] if c["reset_mechanism"] == "subtract" else v)
        yield (v - c["threshold"] > 0).astype(_F)


def _lapicque(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    v, rate = np.zeros_like(given[0]), 1 / (c["R"] * c["C"])
    for x in given:
        before = (v - c["threshold"] > 0).astype(_F)
        v = x * c["R"] * rate * c["time_step"] + (1 - c["time_step"] / (c["R"] * c["C"])) * v - before * c["threshold"]
        yield (v - c["threshold"] > 0).astype(_F)


def _alpha(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    """Its reset to zero, which is its default, takes the potential and both currents."""
    rising = falling = v = np.zeros_like(given[0])
    gain = np.log(c["alpha"]) / (np.log(c["beta"]) - np.log(c["alpha"])) + 1
    for x in given:
        before = (v - c["threshold"] > 0).astype(_F)
        rising, falling = c["alpha"] * rising + x, c["beta"] * falling - x
        v = gain * (rising + falling)
        rising, falling, v = ((1 - before) * values for values in (rising, falling, v))
        yield (v - c["threshold"] > 0).astype(_F)


def _norse(
    given: Array, c: Constants, currents: Callable[[Array, Array, Array], Array], *, neurons: tuple[int, ...], leak: bool = True
) -> Iterable[Array]:
    """Euler steps of dt; fires at v > v_th, then v is v_reset. `currents` is given x, i and the last spikes."""
    i = z = np.zeros((given.shape[1], *neurons), _F)
    v = np.full_like(i, c.get("v_leak", 0))
    for x in given:
        i = currents(x, i, z)
        v = v + c["dt"] * c["tau_mem_inv"] * ((c["v_leak"] - v) + i) if leak else v + i
        i = i + -c["dt"] * c["tau_syn_inv"] * i if "tau_syn_inv" in c else np.zeros_like(i)
        z = (v - c["v_th"] > 0).astype(_F)
        v = (1 - z) * v + z * c["v_reset"]
        yield z


def _norse_box(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    v = np.full_like(given[0], c["v_leak"])
    for x in given:
        v = v + c["dt"] * c["tau_mem_inv"] * (x + c["v_leak"] - v)
        z = (v - c["v_th"] > 0).astype(_F)
        v = (1 - z) * v + z * c["v_reset"]
        yield z


def _norse_recurrent(given: Array, c: Constants, weights: Mapping[str, Array]) -> Iterable[Array]:
    inner, outer = weights["recurrent_weights"].T, weights["input_weights"].T
    return _norse(given, c, lambda x, i, z: i + x @ outer + z @ inner, neurons=inner.shape[:1])


def _norse_refractory(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    """Silent for `rho_reset` steps after a spike, in which the potential stays."""
    i, rho = np.zeros_like(given[0]), np.zeros_like(given[0])
    v = np.full_like(given[0], c["v_leak"])
    for x in given:
        i = i + x
        h = v + c["dt"] * c["tau_mem_inv"] * ((c["v_leak"] - v) + i)
        i = i + -c["dt"] * c["tau_syn_inv"] * i
        z = (h - c["v_th"] > 0).astype(_F)
        h = (1 - z) * h + z * c["v_reset"]
        resting = (rho > 0).astype(_F)
        v, z = (1 - resting) * h + resting * v, (1 - resting) * z
        rho = (1 - z) * np.maximum(rho - resting, 0) + z * c["rho_reset"]
        yield z


def _sinabs(given: Array, c: Constants, weights: Mapping[str, Array]) -> Iterable[Array]:
    """Fires ⌊v / threshold⌋ times at v ≥ threshold, or once; then v is less by that many thresholds, or 0."""
    alpha = np.exp(_F(-1) / c["tau_mem"]) if "tau_mem" in c else _F(1)
    i = v = np.zeros_like(given[0])
    back = np.zeros_like(given[0])
    for x in given:
        x = x + back
        i = np.exp(_F(-1) / c["tau_syn"]) * (i + x) if "tau_syn" in c else x
        v = alpha * v + ((1 - alpha) * i if c["norm_input"] else i)
        spikes = (v > 0) * np.trunc(v / c["spike_threshold"])
        if c["spike_fn"] == "SingleSpike":
            spikes = np.minimum(spikes, 1)
        v = v * (spikes == 0) if c["reset_fn"] == "MembraneReset" else v - spikes * c["spike_threshold"]
        if "min_v_mem" in c:
            v = np.maximum(v - c["min_v_mem"], 0) + c["min_v_mem"]
        if "rec_connect.weight" in weights:
            back = spikes.astype(_F) @ weights["rec_connect.weight"].T
        yield spikes


def _slayer(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    """Whole numbers, decays of 12 bit that round to zero; v is 0 after a spike."""
    scale = c["s_scale"]
    x = (scale * np.moveaxis(given, 2, -1)).astype(np.int64)  # the channel is last, so that constants of channels fit
    current = voltage = np.zeros_like(x[0])

    def decayed(state: NDArray[np.int64], decay: Any) -> NDArray[np.int64]:
        product = state * (4096 - np.asarray(decay).astype(np.int64))
        return np.sign(product) * (np.abs(product) >> 12)

    for step in x:
        current = decayed(current, c["current_decay"]) + step
        voltage = decayed(voltage, c["voltage_decay"]) + current
        spike = voltage >= c["threshold"] * scale
        voltage = voltage * ~spike
        yield np.moveaxis(spike, -1, 1)


def _norse_lif(given: Array, c: Constants, _: Mapping[str, Array]) -> Iterable[Array]:
    return _norse(given, c, lambda x, i, _: i + x, neurons=given.shape[2:])


_STEPS: dict[str, Callable[..., Iterable[Array]]] = {
    "IFNode": _spikingjelly(lambda x, v, _: v + x),
    "LIFNode": _spikingjelly(_lif_node),
    "ParametricLIFNode": _spikingjelly(_plif_node),
    "CUBALIFNode": _cuba_node,
    "Leaky": lambda given, c, _: _snntorch(given, c),
    "RLeaky": _rleaky,
    "Synaptic": _synaptic,
    "Lapicque": _lapicque,
    "Alpha": _alpha,
    "LIFCell": _norse_lif,
    "LIF": lambda given, c, weights: (_sinabs if "spike_fn" in c else _norse_lif)(given, c, weights),
    "LIFBoxCell": _norse_box,
    "IAFCell": lambda given, c, _: _norse(given, c, lambda x, *_: x, neurons=given.shape[2:], leak=False),
    "LIFRecurrentCell": _norse_recurrent,
    "LIFRecurrent": lambda given, c, weights: (_sinabs if "spike_fn" in c else _norse_recurrent)(given, c, weights),
    "LIFRefracCell": _norse_refractory,
    "IAF": _sinabs,
    "IAFSqueeze": _sinabs,
    "Neuron": _slayer,
}
