"""Fine-tuning in the chip's integers: the network as the chip will run it, in torch, from float weights to tuned ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, Partition, partition
from neurodeploy.graph.grid import to_grid
from neurodeploy.graph.module import GraphModule
from neurodeploy_exporters.lava.aware import LoihiAware, hard_reset
from neurodeploy_exporters.lava.quantize import quantize_body
from neurodeploy_exporters.onnx.build import build
from neurodeploy_exporters.onnx.runtime import Session
from neurodeploy_exporters.target import Tuning, TuningSettings


class LoihiTuning(Tuning):
    """See `TuningSettings`; `result` gives the tuned graph with the scales of its layers, which the exporter takes."""

    def __init__(self, graph: Graph, settings: TuningSettings) -> None:
        source = hard_reset(graph) if settings.reset else graph
        rounded, parts = to_grid(source) if settings.exact else source, partition(source)
        spikes, samples = None, settings.calibration
        if samples is not None and not settings.exact:
            spikes = entering_spikes(source, parts, samples, source.steps or len(samples))
        body = quantize_body(rounded, parts.body, calibration=spikes)
        self._batch_first = settings.batch_first
        self.start = GraphModule(body.graph, batch_first=settings.batch_first)
        self.module = LoihiAware(source, body, exact=settings.exact, neuron=settings.neuron, batch_first=settings.batch_first)

    def constrain(self) -> None:
        self.module.constrain()

    def result(self) -> tuple[Graph, dict[str, float], Any]:
        graph = self.module.tuned_graph()
        body = quantize_body(graph, partition(graph).body, scales=self.module.scales)
        return graph, self.module.scales, GraphModule(body.graph, batch_first=self._batch_first)


def entering_spikes(graph: Graph, parts: Partition, samples: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """What enters the body, `[T, B, …]`, for samples as the graph takes them."""
    assert parts.body is not None
    if parts.encoder is None:
        return samples
    encoder = Session(build(graph, parts.encoder, name="encoder"))
    return encoder.run({graph.input.name: samples}, steps=steps)[parts.body.inputs[0]]
