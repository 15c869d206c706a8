"""How large a network may be: a file of a kilobyte can claim any size, and the memory of a simulation follows the sizes.

The limits are those of large systems of Loihi chips. Sources: Intel, "Taking neuromorphic computing to the next level with
Loihi 2", technology brief 2021 (128 cores of 8192 neurons on a chip; Kapoho Point is a board of 8 chips); Intel, "Intel builds
world's largest neuromorphic system", 2024 (Hala Point: 128 billion synapses).
"""

from collections.abc import Iterable
from math import prod

from neurodeploy.errors import UserError
from neurodeploy_exporters.lava.connection import Convolution, Matrix
from neurodeploy_exporters.lava.values import Shape

MAX_NEURONS = 8 * 128 * 8192
"""Of a network, and of its input: Kapoho Point. Spikes, currents and potentials of so many take 75 MB per sample and step."""
MAX_SYNAPSES = 128 * 10**9
"""Of a network, each use of a convolution's weight counted: Hala Point. So many additions take some seconds."""
MAX_UNFOLDED = 1 << 27
"""Of one channel of a convolution, over all its places: torch may copy an input value for each, up to 1 GiB."""


def check_sizes(shapes: Iterable[Shape]) -> None:
    """Refuse a network of too many neurons.

    Args:
        shapes: of the populations, or of the input.

    Raises:
        UserError: naming the number found and the limit.
    """
    neurons = sum(prod(shape) for shape in shapes)
    if neurons > MAX_NEURONS:
        raise UserError(f"{neurons} neurons found, at most {MAX_NEURONS} expected, as many as 8 Loihi 2 chips have")


def check_synapses(connections: Iterable[tuple[Convolution | Matrix, Shape]]) -> None:
    """Refuse a network of too many synapses.

    Args:
        connections: each with the shape of its target.

    Raises:
        UserError: naming the number found and the limit.
    """
    total = 0
    for connection, shape in connections:
        fan_in, places = connection.weight[0].size, prod(shape) // shape[0]
        if isinstance(connection, Convolution) and fan_in * places > MAX_UNFOLDED:
            raise UserError(
                f"{fan_in} weights per channel of a convolution, at {places} places, found; a product of at most "
                f"{MAX_UNFOLDED} expected: use a smaller kernel or a larger stride"
            )
        total += fan_in * prod(shape)
    if total > MAX_SYNAPSES:
        raise UserError(f"{total} synapses found, at most {MAX_SYNAPSES} expected, as many as the largest Loihi system has")
