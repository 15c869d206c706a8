"""Lava / Loihi: the `.net` format, the fixed-point simulator, quantisation, and the export target."""

from neurodeploy_exporters.lava.export import export
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.pipeline import run_sequence, run_stream
from neurodeploy_exporters.lava.quantize import quantize_body
from neurodeploy_exporters.lava.simulate import simulate

__all__ = ["export", "quantize_body", "read", "run_sequence", "run_stream", "simulate", "write"]
