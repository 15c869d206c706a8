"""From a trained body to Loihi's integers.

A neuron's equation keeps its form when weights, bias and threshold are multiplied by one scale s > 0, because after a hard
reset the membrane potential is 0 in any unit: `s h > s θ` is `h > θ`. So each population gets its own scale, then everything is
rounded: weights to even numbers of 8 bits and a sign, biases to 13 bits, thresholds to 17 bits (`rounding`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.graph import Graph, Part
from neurodeploy.graph.ops import Shape
from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.arrangement import arranged, integer_graph
from neurodeploy_exporters.lava.calibration import Calibration
from neurodeploy_exporters.lava.circuit import Circuit
from neurodeploy_exporters.lava.connection import MAX_DELAY
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.rounding import Placed, at_scale, candidates, given, readout_target, spiking_target
from neurodeploy_exporters.lava.wiring import Readout, Stage, stages


@dataclass(frozen=True)
class QuantizedSynapse:
    """One afferent of a population in integers.

    Attributes:
        name: of the afferent (`wiring.Afferent`); in a chain that of the Conv or Linear node.
        source: the spiking layer that it reads, or the tensor that enters the body.
        parallel: number of synapses that share its weight.
        delay: steps that its spikes wait for those of the longest way.
        weight_error: ‖w_int / scale − w‖ / ‖w‖; of a readout's pooled weights, of their sums over each window.
    """

    name: str
    source: str
    parallel: int
    delay: int
    weight_error: float


@dataclass(frozen=True)
class QuantizedLayer:
    """A population in integers.

    Attributes:
        name: of the neurons in the graph, whose spikes the population fires; of a readout, the tensor that leaves the chip.
        key: of the population in recordings, such as `L0_Conv`.
        shape: of the spikes in the graph, per sample and step.
        scale: integer units per unit of the trained network.
        synapses: what flows into it.
        bias_error: largest |b_int / scale − b|, as a share of the trained threshold.
        threshold_error: |θ_int / scale − θ|, as a share of the trained threshold.
        i_decay, v_decay, threshold: of the neurons, as in the file.
        latency: steps from an input to its answer on the chip.
    """

    name: str
    key: str
    shape: Shape
    scale: float
    synapses: tuple[QuantizedSynapse, ...]
    bias_error: float
    threshold_error: float
    i_decay: int
    v_decay: int
    threshold: int
    latency: int


@dataclass(frozen=True, eq=False)
class QuantizedBody:
    """A body in integers, twice.

    Attributes:
        network: what the chip runs: a chain, as a `.net` file holds it, or a circuit where the body branches.
        layers: its spiking layers, in order.
        readouts: the neurons behind them that never fire, whose graded values leave the chip; none where it ends with spikes.
        graph: the whole graph with the same integers in the body's synapses (float32, exact) and FixedPointNeuron nodes; every
            afferent is a node of its own. Encoder and head are unchanged, but for the head's synapses that are readouts: their
            integers make the tensor `….graded`, and the node after it brings them back to the trained unit.
    """

    network: Network | Circuit
    layers: tuple[QuantizedLayer, ...]
    readouts: tuple[QuantizedLayer, ...]
    graph: Graph


def quantize_body(
    graph: Graph,
    body: Part | None,
    *,
    calibration: NDArray[Any] | None = None,
    readouts: Sequence[Readout] = (),
    steps: int = 1,
    scales: Mapping[str, float] | None = None,
) -> QuantizedBody:
    """Round the body of a graph to what Loihi holds.

    Args:
        graph: batch norm folded.
        body: the part of `neurodeploy.graph.partition` that goes onto the chip.
        calibration: spikes that enter the body, `[T, B, …]`: then every population gets the scale with which it fires most
            nearly what it fires in the trained network (`calibration.Calibration`), rather than that of least rounding error.
        readouts: synapses behind the last spiking layers that the chip computes too (`wiring.readouts`).
        steps: T of a sample, over which a readout may have to add up.
        scales: of every spiking layer in the body, as fine-tuning found its integers; then none is searched for.

    Raises:
        UserError: there is no body, or a node has no form on the chip, or is beyond its range at the scale given; the message
            names it and says what to do.
    """
    if body is None:
        raise UserError("body: only the first layer spikes, so nothing would run on the chip; export to ONNX instead")
    entry, found = body.inputs[0], stages(graph, body)
    chosen = None if calibration is None else Calibration(entry, calibration)
    depths, placed = {entry: 0}, list[Placed]()
    populations: tuple[Stage | Readout, ...] = (*found, *readouts)
    for index, stage in enumerate(populations):
        depth, delays = _timing(stage, depths)
        if isinstance(stage, Stage):
            target = spiking_target(stage)
            if scales is not None:
                scale = given(target, scales[stage.name])
            else:
                possible = candidates(target)
                scale = possible[0] if chosen is None else chosen.choose(stage, target, possible)
            i_decay, v_decay = 4096, round(4096 * (1 - stage.neuron.parameters.decay))
        else:
            target = readout_target(stage, steps)
            scale = candidates(target)[0]
            i_decay, v_decay = 0 if stage.integrates else 4096, 4096
        rounded = at_scale(target, scale)
        neuron = CubaConstants(i_decay, v_decay, rounded.threshold)
        placed.append(Placed(stage, rounded, neuron, depth, delays, index))
        depths[stage.name] = depth
    spiking, graded = placed[: len(found)], placed[len(found) :]
    return QuantizedBody(
        network=arranged(entry, placed),
        layers=tuple(_describe(each) for each in spiking),
        readouts=tuple(_describe(each) for each in graded),
        graph=integer_graph(graph, placed),
    )


def _timing(stage: Stage | Readout, depths: dict[str, int]) -> tuple[int, tuple[int, ...]]:
    """The depth of a population, and the delays that line its afferents up with the longest way."""
    before = [depths[afferent.source] for afferent in stage.afferents]
    delays = tuple(max(before) - each for each in before)
    for afferent, delay in zip(stage.afferents, delays, strict=True):
        if delay > MAX_DELAY:
            raise UserError(
                f"node {stage.name}: the spikes of {afferent.source} have to wait {delay} steps for those of the longest way, "
                f"{MAX_DELAY} at most expected on Loihi; shorten that way, or export to ONNX"
            )
    return 1 + max(before), delays


def _describe(placed: Placed) -> QuantizedLayer:
    stage, rounded = placed.stage, placed.rounded
    threshold = stage.neuron.parameters.threshold if isinstance(stage, Stage) else None
    bias_error = 0.0 if rounded.bias is None else float(np.abs(rounded.bias / rounded.scale - stage.bias).max())
    return QuantizedLayer(
        name=stage.name,
        key=placed.key,
        shape=stage.shape,
        scale=rounded.scale,
        synapses=tuple(
            QuantizedSynapse(afferent.node.name, afferent.source, parallel, delay, error)
            for (afferent, _, parallel, delay), error in zip(placed.afferents, rounded.weight_errors, strict=True)
        ),
        bias_error=bias_error / (threshold or 1.0),
        threshold_error=0.0 if threshold is None else abs(rounded.threshold / rounded.scale - threshold) / threshold,
        i_decay=int(placed.neuron.i_decay),
        v_decay=int(placed.neuron.v_decay),
        threshold=placed.neuron.threshold,
        latency=placed.depth,
    )
