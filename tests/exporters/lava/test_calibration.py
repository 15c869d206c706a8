"""Scales chosen on data: those with which a population fires most nearly what the trained one fires."""

import numpy as np
import pytest

from neurodeploy.graph import interpreter, partition
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.calibration import Calibration
from neurodeploy_exporters.lava.quantize import quantize_body
from neurodeploy_exporters.lava.rounding import at_scale, candidates, spiking_target
from neurodeploy_exporters.lava.wiring import stages


def entering(graph, images):
    return interpreter.run(graph, images)[partition(graph).body.inputs[0]]


@pytest.mark.parametrize("kind", ["conv", "resnet"])
def test_every_population_alone_fires_at_least_as_nearly_as_with_the_least_rounding_error(graph, digits, kind):
    network, images = graph(kind), digits[0][:60]
    calibration = Calibration(partition(network).body.inputs[0], entering(network, images))
    tensors = interpreter.run(network, images)
    changed = 0
    for stage in stages(network, partition(network).body):
        target = spiking_target(stage)
        scales = candidates(target)
        chosen = calibration.choose(stage, target, scales)
        wrong = {scale: _differing(stage, at_scale(target, scale), tensors) for scale in (chosen, scales[0])}
        assert wrong[chosen] <= wrong[scales[0]]
        changed += chosen != scales[0]
    assert changed


def _differing(stage, rounded, tensors) -> int:
    """Spikes that differ from the trained population's when both read the trained network's spikes, in plain numpy."""
    from neurodeploy.dynamics.neurons import CubaParameters, cuba_step
    from neurodeploy.graph import Graph, ops

    current = 0
    for afferent, weight in zip(stage.afferents, rounded.weights, strict=True):
        entry = ops.InputNode(name=afferent.source, shape=afferent.input_shape, timed=True)
        node = type(afferent.node)(**{**vars(afferent.node), "weight": weight.astype(np.float32)})
        out = ops.OutputNode(name="out", inputs=(node.name,))
        current = current + interpreter.run(Graph([entry, node, out]), tensors[afferent.source])["out"]
    current = (current + rounded.bias.reshape(-1, 1, 1)).astype(np.int64)
    decay = round(4096 * (1 - stage.neuron.parameters.decay))
    u = v = np.zeros(current.shape[1:], np.int64)
    wrong = 0
    for step, now in enumerate(current):
        fired, u, v = cuba_step(u, v, now, CubaParameters(4096, decay, rounded.threshold))
        wrong += int((fired != tensors[stage.name][step]).sum())
    return wrong


def test_a_quantised_body_takes_the_scales_of_the_search(graph, digits):
    network, body = graph("resnet"), partition(graph("resnet")).body
    plain = quantize_body(network, body)
    searched = quantize_body(network, body, calibration=entering(network, digits[0][:60]))
    assert [layer.name for layer in plain.layers] == [layer.name for layer in searched.layers]
    assert [layer.scale for layer in plain.layers] != [layer.scale for layer in searched.layers]
    assert [s.parallel for layer in plain.layers for s in layer.synapses] == [
        s.parallel for layer in searched.layers for s in layer.synapses
    ]


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (np.zeros((4, 2)), r"calibration: shape \(4, 2\) found, spikes \[T, B, …\] of the body's input expected"),
        (np.zeros((4, 0, 4, 8, 8)), r"calibration: shape \(4, 0, 4, 8, 8\) found"),
        (np.full((4, 1, 4, 8, 8), 0.5), "calibration: values other than 0 and 1 found"),
    ],
)
def test_calibration_data_that_are_no_spikes_are_refused(graph, spikes, message):
    with pytest.raises(UserError, match=message):
        quantize_body(graph("conv"), partition(graph("conv")).body, calibration=spikes)
