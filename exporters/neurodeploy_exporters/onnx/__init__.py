"""ONNX export: time loops as `Scan`, dynamic in steps and batch."""

from neurodeploy_exporters.onnx.build import FORMAT, build
from neurodeploy_exporters.onnx.runtime import Answer, Session, Stream
from neurodeploy_exporters.onnx.target import OnnxTarget

export = OnnxTarget().write

__all__ = ["FORMAT", "Answer", "OnnxTarget", "Session", "Stream", "build", "export"]
