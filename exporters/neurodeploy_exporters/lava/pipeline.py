"""Runs a body on the simulated chip so that every sample gives what it would give alone, aligned in time.

On the chip each block answers one step later than the one before, and biases act from the first step on, before any spike has
arrived. A spike that enters in step t (t = 1, 2, …) reaches block i in step t + 1 + i. The reset is therefore staggered: block
i is cleared before its update in step 2 + i, exactly when the first step of the sample reaches it, and sees T steps from
there, u = v = 0 before, the bias in each. What its bias did earlier is erased; what it fired earlier reached block i + 1 in
step 2 + i at the latest, one step before that block is cleared in step 3 + i. With a reset interval of T or more the same
holds for samples that follow one another: a window of block i receives what the same window of block i − 1 fired, and nothing
else. Synaptic delays and recurrent synapses would carry spikes from one window into the next; they are refused.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.layers import DenseLayer
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import shaped_input, simulate

_DIRECT_DRIVE = 1  # reset offset of a network driven by spikes: block 0 sees the input of step t in step t + 1


@dataclass(frozen=True, eq=False)
class Replay:
    """What a body fires.

    Attributes:
        spikes: block key, such as `L0_Conv` → `[T, B, *shape]`, uint8: for every block, index t belongs to input step t.
        latency_steps: steps from an input to the answer of the last block on the chip; one per block.
    """

    spikes: dict[str, NDArray[np.uint8]]
    latency_steps: int


def run_sequence(network: Network, spikes: NDArray[Any], *, steps: int | None = None) -> Replay:
    """Run each sample as its own batch element, on a chip that has seen nothing before.

    Args:
        network: a body: no input neurons, no delays, no recurrent layers.
        spikes: `[T, B, …]`, 0 or 1; the sample as in `simulate.shaped_input`.
        steps: steps that each block is run for; T if None. Steps beyond T get no input.

    Raises:
        UserError: the network is no such body, the spikes are not 0 or 1 or of the wrong shape, or `steps` is below T.
    """
    spikes, steps = _checked(network, spikes, steps)
    latency = len(network.blocks())
    recorded = simulate(
        network,
        spikes,
        steps + latency,
        reset_interval=steps + latency,
        reset_offset=_DIRECT_DRIVE,
        record=("s",),
    )
    aligned = {}
    for block in network.blocks():
        first = block.index + 1
        aligned[block.key] = recorded[f"{block.key}_s"][first : first + steps]
    return Replay(aligned, latency)


def run_stream(
    network: Network, samples: NDArray[Any], *, steps: int | None = None, reset_interval: int | None = None
) -> Replay:
    """Push the samples one after another through one chip, as a deployed network runs; same result as `run_sequence`.

    Args:
        network: as for `run_sequence`.
        samples: `[T, B, …]`; the B samples enter in order.
        steps: as for `run_sequence`.
        reset_interval: steps from the start of one sample to the start of the next, at least `steps`; `steps` if None.

    Raises:
        UserError: as `run_sequence`, or the interval is too short.
    """
    samples, steps = _checked(network, samples, steps)
    interval = steps if reset_interval is None else reset_interval
    if interval < steps:
        raise UserError(f"reset interval: {interval} found, at least the {steps} steps of a sample expected")
    count, latency = samples.shape[1], len(network.blocks())
    line = np.zeros((count, interval, *samples.shape[2:]), np.uint8)
    line[:, : len(samples)] = np.moveaxis(samples, 0, 1)
    recorded = simulate(
        network,
        line.reshape(count * interval, 1, *samples.shape[2:]),
        count * interval + latency,
        reset_interval=interval,
        reset_offset=_DIRECT_DRIVE,
        record=("s",),
    )
    aligned = {}
    for block in network.blocks():
        first = block.index + 1
        windows = recorded[f"{block.key}_s"][first : first + count * interval, 0]
        windows = windows.reshape(count, interval, *block.layer.shape)[:, :steps]
        aligned[block.key] = np.ascontiguousarray(np.moveaxis(windows, 0, 1))
    return Replay(aligned, latency)


def _checked(network: Network, spikes: NDArray[Any], steps: int | None) -> tuple[NDArray[np.uint8], int]:
    if network.has_input_neurons:
        raise UserError("network: it begins with input neurons; a body driven by spikes expected")
    for position, layer in enumerate(network.layers):
        if isinstance(layer, DenseLayer) and (np.any(layer.delay) or layer.weight_rec is not None):
            raise UserError(
                f"/layer/{position}: delays or recurrent synapses found, whose spikes would reach into the next sample; "
                "run such a network with simulate"
            )
    spikes = shaped_input(np.asarray(spikes), network, leading=2)
    if not ((spikes == 0) | (spikes == 1)).all():
        raise UserError("spikes: values other than 0 and 1 found")
    if steps is not None and steps < len(spikes):
        raise UserError(f"steps: {steps} found, at least the {len(spikes)} of the input expected")
    return spikes.astype(np.uint8), len(spikes) if steps is None else steps
