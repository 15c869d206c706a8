"""What becomes of one file: it is read, run and written again; anything but success or a proper message is a defect."""

import contextlib
import traceback
from dataclasses import dataclass
from math import prod
from pathlib import Path
from random import Random

import numpy as np

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.circuitfile import is_circuit, read_circuit, write_circuit
from neurodeploy_exporters.lava.connection import Shape
from neurodeploy_exporters.lava.layers import MAX_NEURONS, ConvLayer
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import Mode, simulate, simulate_circuit

_STEPS = 3
_LONGEST_MESSAGE = 1000


@dataclass(frozen=True)
class Outcome:
    """How a file ended.

    Attributes:
        kind: "run" (read and simulated), "refused" by `read`, "refused later" by another step, or "defect".
        detail: the message, or what is wrong.
    """

    kind: str
    detail: str = ""


def try_file(path: Path, random: Random) -> Outcome:
    """Read a file; if it is a network, run it, write it beside, and read that.

    Args:
        path: the file.
        random: of the input spikes.
    """
    stage, again = "read", path.with_name("again.net")
    try:
        network = read_circuit(path) if is_circuit(path) else read(path)
        stage = "simulate"
        _run(network, random)
        stage = "write"
        if isinstance(network, Circuit):
            write_circuit(network, again)
        else:
            write(network, again)
        stage = "read again"
        _ = read_circuit(again) if is_circuit(again) else read(again)
    except UserError as error:
        fault = fault_of(error, path if stage == "read" else None)
        if fault or stage == "read again":
            return Outcome("defect", f"{stage}: {fault or 'what was written is refused'}: {error!s:.2000}")
        return Outcome("refused" if stage == "read" else "refused later", str(error))
    except BaseException:  # whatever else it is, is what is looked for
        return Outcome("defect", f"{stage}: {traceback.format_exc()}")
    return Outcome("run")


def _run(network: Network | Circuit, random: Random) -> None:
    shape = network.input_shape or _guessed_input(network)
    if shape is None:
        return
    spikes = np.random.default_rng(random.getrandbits(32)).random((_STEPS, 1, *shape), np.float32) < 0.5
    mode: Mode = random.choice(("bias", "ain")) if network.has_input_neurons else "spikes"
    if isinstance(network, Network) and network.graded:  # they take no bias, and nothing resets them
        simulate(network, 9 * spikes, _STEPS, mode="ain" if network.has_input_neurons else "spikes")
        return
    inputs = 60 * spikes[0] if mode == "bias" else spikes
    if isinstance(network, Circuit):
        simulate_circuit(network, inputs, _STEPS, mode=mode, reset_interval=2)
    else:
        simulate(network, inputs, _STEPS, mode=mode, reset_interval=2)


def _guessed_input(network: Network | Circuit) -> Shape | None:
    """An input for a file that begins with a convolution and does not tell; None if it would be larger than a file may tell."""
    first = network.layers[0] if isinstance(network, Network) else None
    if not isinstance(first, ConvLayer):
        return None
    geometry = zip(first.shape[1:], first.weight.shape[2:], first.stride, first.padding, first.dilation, strict=True)
    sizes = tuple((size - 1) * s + d * (k - 1) + 1 - 2 * p for size, k, s, p, d in geometry)
    shape = (first.in_channels, *sizes)
    return shape if min(sizes) > 0 and prod(shape) <= MAX_NEURONS else None


def fault_of(error: UserError, path: Path | None) -> str | None:
    """What is wrong with a message."""
    message, cause = str(error), error.__cause__ or error.__context__
    if path is not None and not message.startswith(f"{path}: "):
        return "a message that does not begin with the file"
    if any(ord(character) < 32 or ord(character) == 127 for character in message):
        return "a message of several lines or with control characters"
    with contextlib.suppress(UnicodeEncodeError):
        message.encode()
        if len(message) > _LONGEST_MESSAGE:
            return f"a message of {len(message)} characters"
        return "memory beyond the limit" if isinstance(cause, MemoryError) else None
    return "a message that cannot be printed"
