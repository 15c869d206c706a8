"""Lava / Loihi: `.net` and circuit files, the fixed-point simulator, quantisation, and the export target."""

from neurodeploy_exporters.lava.circuitfile import is_circuit, read_circuit, write_circuit
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.lava.quantize import quantize_body
from neurodeploy_exporters.lava.simulate import simulate, simulate_circuit
from neurodeploy_exporters.lava.target import LavaTarget

export = LavaTarget().write

__all__ = [
    "LavaTarget",
    "export",
    "is_circuit",
    "quantize_body",
    "read",
    "read_circuit",
    "run_sequence",
    "run_stream",
    "simulate",
    "simulate_circuit",
    "write",
    "write_circuit",
]
