"""Every form in which networks are exported to ONNX, in programs that read ONNX files; see `checks.onnx_runtimes`."""
