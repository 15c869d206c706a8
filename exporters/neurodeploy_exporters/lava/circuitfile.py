"""Reading and writing circuit files: HDF5 like `.net` files, for what a chain cannot hold."""

from pathlib import Path

from neurodeploy_exporters.lava.circuit import Circuit


def read_circuit(path: Path) -> Circuit:
    """Read a circuit file.

    Raises:
        UserError: not such a file, or a missing or wrong value; the message names the file, the place in it and the value.
    """
    raise NotImplementedError(path)


def write_circuit(circuit: Circuit, path: Path) -> None:
    """Write a circuit file, atomically.

    Raises:
        UserError: a value does not fit the chip.
    """
    raise NotImplementedError(circuit, path)
