"""The circuit of a bundle, a `.net` file or a circuit file."""

from pathlib import Path

from neurodeploy.errors import UserError
from neurodeploy_exporters.bundle import read_bundle
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.circuitfile import read_circuit
from neurodeploy_exporters.lava.layers import ConvLayer
from neurodeploy_exporters.lava.netfile import read
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.values import Shape


def open_circuit(path: Path) -> Circuit:
    """Read the network that a chip is to run.

    Args:
        path: the folder of a Lava bundle, or a file whose name ends in `.net` or `.circuit`.

    Raises:
        UserError: it is none of these, or damaged.
    """
    if path.is_dir():
        bundle = read_bundle(path)
        body = next((piece for piece in bundle.manifest.chain if piece.name == "body"), None)
        if body is None or body.format not in ("net", "circuit"):
            raise UserError(f"{path}: a bundle for {bundle.manifest.target} found; one for Loihi expected (--target lava)")
        path = bundle.path(body.file)
    if path.suffix == ".circuit":
        return read_circuit(path)
    if path.suffix != ".net":
        raise UserError(f"{path}: a bundle's folder, or a file that ends in .net or .circuit, expected")
    network = read(path)
    return network.circuit(input_shape=network.input_shape or _smallest_input(network))


def _smallest_input(network: Network) -> Shape | None:
    """Of a network that begins with a convolution and does not tell: rows and columns that no neuron reads are left out."""
    first = network.layers[0]
    if not isinstance(first, ConvLayer):
        return None
    connection = first.connection
    kernel = [d * (k - 1) + 1 for d, k in zip(connection.dilation, connection.weight.shape[2:], strict=True)]
    sizes = zip(first.shape[1:], connection.stride, kernel, connection.padding, strict=True)
    return (connection.in_channels, *((size - 1) * stride + k - 2 * padding for size, stride, k, padding in sizes))
