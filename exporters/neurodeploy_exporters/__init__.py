"""Deployment artefacts from a `neurodeploy.graph.Graph`: ONNX, Lava `.net`, bundles and their verification."""
