"""ONNX export: time loops as `Scan`, dynamic in steps and batch."""

from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.export import export
from neurodeploy_exporters.onnx.runtime import Answer, Session, Stream

__all__ = ["Answer", "Session", "Stream", "build", "export"]
