"""Whether a network's spikes arrive: deployed, run as a graph, exported to ONNX and verified."""

import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

import neurodeploy as nd
from checks.foreign.firing import trained_like
from checks.foreign.networks import BATCH, STEPS, Network
from checks.foreign.recording import Recording
from checks.foreign.soundness import checked
from neurodeploy.graph import Graph, interpreter

Verdict = Literal["arrived", "differs", "refused", "failed"]
_CLOSE = 1e-4  # of outputs, relative to the largest


@dataclass(frozen=True)
class Arrival:
    """What became of a network.

    Attributes:
        network, framework: names.
        rates: spiking layer → spikes per neuron and step, in its framework.
        verdict: of the graph: "refused" if a `UserError` says why not, "failed" after any other error.
        detail: the error, or what differs.
        values, different: spikes compared, and those that are not equal.
        onnx: "verified", or why not; "" if there is no graph to export.
        seconds: for everything.
    """

    network: str
    framework: str
    rates: dict[str, float]
    verdict: Verdict
    detail: str
    values: int
    different: int
    onnx: str
    seconds: float

    def as_document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def __str__(self) -> str:
        if self.verdict == "arrived":
            return f"arrived ({self.values:,} spikes equal)"
        if self.verdict == "differs" and self.different:
            return f"differs ({self.different:,} of {self.values:,} spikes)"
        return self.verdict


def arrival(network: Network, *, onnx: bool = True) -> Arrival:
    """Build a network, record it in its framework, and see what becomes of it here.

    Raises:
        ValueError: the recording is not sound; see `checked`.
    """
    start = perf_counter()
    module, inputs = network.built(), network.inputs()
    recording = trained_like(network, module, inputs)
    checked(network, module, recording)
    network.framework.reset(module)
    model, outcome = _deployed(network, module, inputs, recording)
    exported = _onnx(model) if onnx and model is not None else ""
    rates = {name: round(rate, 4) for name, rate in recording.rates().items()}
    return Arrival(network.name, network.framework.name, rates, *outcome, exported, round(perf_counter() - start, 2))


def _deployed(
    network: Network, module: nn.Module, inputs: Tensor, recording: Recording
) -> tuple[nd.Model | None, tuple[Verdict, str, int, int]]:
    """The model, if there is one with a graph that runs; and the verdict with its detail and counts."""
    samples, options = network.deployed(inputs)
    try:
        model = nd.deploy(module, samples, name=network.name, **options)
        assert model.graph is not None
        tensors = _interpreted(model.graph, inputs.numpy())
    except nd.UserError as error:
        return None, ("refused", " ".join(str(error).split()), 0, 0)
    except Exception as error:  # whatever is thrown, the other networks are to be tried too
        return None, ("failed", _placed(error), 0, 0)
    values, different, detail = compared(recording, model.graph, tensors)
    return model, ("differs" if detail else "arrived", detail, values, different)


def _interpreted(graph: Graph, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    leading = 2 if graph.input.timed else 1
    given = inputs
    if given.ndim < leading + len(graph.input.shape):  # a static sample of a graph that takes sequences
        given = np.repeat(given[None], STEPS, 0)
    return interpreter.run(graph, given)


def compared(recording: Recording, graph: Graph, tensors: Mapping[str, NDArray[np.float32]]) -> tuple[int, int, str]:
    """Number of spikes compared, number of them that differ, and what differs, "" if nothing does.

    Layers are compared by name where the graph has all of them, else by the order in which they are computed.
    """
    found = interpreter.spikes(graph, tensors)
    total = sum(values.size for values in recording.spikes.values())
    if not set(recording.spikes) <= set(found) and len(found) != len(recording.spikes):
        return total, total, f"{len(found)} spiking layers in the graph, {len(recording.spikes)} in the module"
    by_name = set(recording.spikes) <= set(found)
    different, first = 0, ""
    for (name, expected), other in zip(recording.spikes.items(), found, strict=False):
        values = found[name if by_name else other]
        wrong = expected != values.reshape(expected.shape) if expected.size == values.size else np.ones(expected.shape, bool)
        count = int(np.count_nonzero(wrong))
        different += count
        if count and not first:
            step = int(np.nonzero(wrong)[0][0])
            first = f"first in {name}, step {step}: {count:,} of {expected.size:,} spikes of this layer"
    return total, different, first or _outputs_differ(recording.output, tensors[graph.output.name])


def _outputs_differ(expected: NDArray[np.float32], found: NDArray[np.float32]) -> str:
    if found.shape != expected.shape and expected.ndim == found.ndim + 1:
        expected = expected.mean(0)  # the module leaves the mean over time to its caller
    if found.size != expected.size:
        return f"output: shape {found.shape} in the graph, {expected.shape} in the module"
    gap = np.abs(found.reshape(expected.shape) - expected)
    limit = _CLOSE * max(1.0, float(np.abs(expected).max()))
    wrong = int(np.count_nonzero(~(gap <= limit)))
    return f"output: {wrong:,} of {gap.size:,} values, by {gap.max():.2g} at most" if wrong else ""


def _onnx(model: nd.Model) -> str:
    try:
        with tempfile.TemporaryDirectory(prefix="foreign.") as folder:
            verification = nd.verify(nd.export(model, "onnx", Path(folder) / "onnx", samples=BATCH))
    except nd.UserError as error:
        return "refused: " + " ".join(str(error).split())
    except Exception as error:
        return "failed: " + _placed(error)
    return "verified" if verification.passed else f"not verified: {verification.findings[0]}"


def _placed(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({Path(place.filename).name}, line {place.lineno})"
