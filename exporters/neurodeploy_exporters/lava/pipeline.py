"""Runs a body on the simulated chip so that every sample gives what it would give alone, aligned in time.

On the chip a population of depth d (synapses on its longest way from the input; in a chain block i has depth i + 1) answers d
steps late, and biases act from the first step on, before any spike has arrived. A spike that enters in step t (t = 1, 2, …)
reaches it in step t + d, by every way, because delays line the short ways up with the long one. The reset is therefore
staggered: a population is cleared before its update in step d + 1, exactly when the first step of the sample reaches it, and
sees T steps from there, u = v = 0 before, the bias in each. What its bias did earlier is erased. What it fired earlier, in step
d at the latest, reaches a population of depth e in step e at the latest (a synapse between them takes e − d steps), one step
before that one is cleared. With a reset interval of T or more the same holds for samples that follow one another: a window of a
population receives what the same windows of its sources fired, and nothing else.

Longer delays and recurrent synapses carry spikes from one step of a sample into a later one, as the network asks for. They
would carry them from one sample into the next too, so in a stream they are refused. A sample that runs alone sees none, if what
they come from does not fire before the sample begins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.bundle import GradedTensor
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Population, Synapse
from neurodeploy_exporters.lava.connection import Shape
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.simulate import shaped_input, simulate_circuit

_DIRECT_DRIVE = 1  # reset offset of a network driven by spikes: depth 1 sees the input of step t in step t + 1


@dataclass(frozen=True, eq=False)
class Replay:
    """What a body fires.

    Attributes:
        spikes: key of a population, such as `L0_Conv` → `[T, B, *shape]`, uint8: index t belongs to input step t everywhere.
        graded: key of a population that is read out as numbers → its synaptic current after each step, `[T, B, *shape]`, in
            units of the weights; such a population is not in `spikes`.
        latencies: key → steps from an input to the answer of that population on the chip, its depth.
        states: key → what enters the potential in each step, `[T, B, *shape]` int64, and the potential after the last one;
            empty if nobody asked for them.
    """

    spikes: dict[str, NDArray[np.uint8]]
    graded: dict[str, NDArray[np.int64]]
    latencies: dict[str, int]
    states: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)

    @property
    def latency_steps(self) -> int:
        """Steps from an input to the last answer."""
        return max(self.latencies.values())

    def spikes_of(self, key: str, shape: Shape) -> NDArray[np.float32]:
        """A population's spikes in the shape that they have in the graph, float32."""
        return self.spikes[key].reshape(*self.spikes[key].shape[:2], *shape).astype(np.float32)

    def states_of(self, key: str, shape: Shape) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A population's currents and last potential, in the shape that they have in the graph."""
        current, potential = self.states[key]
        return current.reshape(*current.shape[:2], *shape), potential.reshape(len(potential), *shape)

    def read_out(self, tensor: GradedTensor) -> NDArray[np.float32]:
        """What leaves the chip as numbers, in the shape that it has in the graph: `[B, …]` of one that adds up all steps."""
        graded = self.graded[tensor.population]
        values = graded.reshape(*graded.shape[:2], *tensor.shape).astype(np.float32)
        return values[-1] / np.float32(len(values)) if tensor.read == "after the last step" else values


def run_sequence(
    network: Network | Circuit,
    spikes: NDArray[Any],
    *,
    steps: int | None = None,
    graded: Sequence[str] = (),
    states: bool = False,
) -> Replay:
    """Run each sample as its own batch element, on a chip that has seen nothing before.

    Args:
        network: a body: no input neurons; delays beyond those that line up its ways, and recurrent synapses, only from
            populations that do not fire on their own.
        spikes: `[T, B, …]`, 0 or 1; the sample as in `simulate.shaped_input`.
        steps: steps that each population is run for; T if None. Steps beyond T get no input.
        graded: keys of the populations that are read out as numbers.
        states: whether to return currents and potentials too.

    Raises:
        UserError: the network is no such body, the spikes are not 0 or 1 or of the wrong shape, or `steps` is below T.
    """
    circuit, spikes, steps = _checked(network, spikes, steps)
    check_apart(circuit)
    places = _places(circuit)
    length = steps + max(depth for depth, _ in places.values())
    recorded = _simulate(circuit, spikes, length, length, places, graded, states=states)
    found = _replay(places, graded, lambda key, what: recorded[f"{key}_{what}"][places[key][0] :][:steps])
    if not states:
        return found
    held = {}
    for population in circuit.populations:
        u, v = (recorded[f"{population.key}_{what}"][places[population.key][0] :][:steps] for what in "uv")
        held[population.key] = (u.astype(np.int64) + 64 * _bias(population), v[-1].astype(np.int64))
    return replace(found, states=held)


def run_stream(
    network: Network | Circuit,
    samples: NDArray[Any],
    *,
    steps: int | None = None,
    reset_interval: int | None = None,
    graded: Sequence[str] = (),
) -> Replay:
    """Push the samples one after another through one chip, as a deployed network runs; same result as `run_sequence`.

    Args:
        network: as for `run_sequence`, and without delays but those that line up its ways, or recurrent synapses.
        samples: `[T, B, …]`; the B samples enter in order.
        steps: as for `run_sequence`.
        reset_interval: steps from the start of one sample to the start of the next, at least `steps`; `steps` if None.
        graded: as for `run_sequence`.

    Raises:
        UserError: as `run_sequence`, or the interval is too short.
    """
    circuit, samples, steps = _checked(network, samples, steps)
    if kept := kept_between_samples(circuit):
        raise UserError(f"{kept} found, whose spikes would reach into the next sample; run every sample alone (run_sequence)")
    check_apart(circuit)
    interval = steps if reset_interval is None else reset_interval
    if interval < steps:
        raise UserError(f"reset interval: {interval} found, at least the {steps} steps of a sample expected")
    places, count = _places(circuit), samples.shape[1]
    line = np.zeros((count, interval, *samples.shape[2:]), np.uint8)
    line[:, : len(samples)] = np.moveaxis(samples, 0, 1)
    line = line.reshape(count * interval, 1, *samples.shape[2:])
    length = count * interval + max(depth for depth, _ in places.values())
    recorded = _simulate(circuit, line, length, interval, places, graded)

    def windows(key: str, what: str) -> NDArray[Any]:
        first, shape = places[key]
        cut = recorded[f"{key}_{what}"][first : first + count * interval, 0]
        return np.ascontiguousarray(np.moveaxis(cut.reshape(count, interval, *shape)[:, :steps], 0, 1))

    return _replay(places, graded, windows)


def _bias(population: Population) -> Any:
    """The bias of each neuron, as it broadcasts against `[T, B, *shape]`."""
    if population.bias is None:
        return 0
    return population.bias.reshape(*population.bias.shape, *(1,) * (len(population.shape) - population.bias.ndim))


def _replay(places: dict[str, tuple[int, Shape]], graded: Sequence[str], aligned: Callable[[str, str], Any]) -> Replay:
    return Replay(
        spikes={key: aligned(key, "s") for key in places if key not in graded},
        graded={key: aligned(key, "u").astype(np.int64) >> 6 for key in graded},
        latencies={key: depth for key, (depth, _) in places.items()},
    )


def _places(circuit: Circuit) -> dict[str, tuple[int, Shape]]:
    """Key of every population → its depth and shape."""
    return {
        population.key: (depth, population.shape) for population, depth in zip(circuit.populations, circuit.depths, strict=True)
    }


def _simulate(
    circuit: Circuit,
    spikes: NDArray[Any],
    steps: int,
    interval: int,
    places: dict[str, tuple[int, Shape]],
    graded: Sequence[str],
    *,
    states: bool = False,
) -> dict[str, NDArray[Any]]:
    absent = [key for key in graded if key not in places]
    if absent:
        raise UserError(f"population {absent[0]}: to be read out but not in the network; there are: {', '.join(places)}")
    record = ("s", "u", "v") if states else ("s", "u") if graded else ("s",)
    return simulate_circuit(circuit, spikes, steps, reset_interval=interval, reset_offset=_DIRECT_DRIVE, record=record)


def _checked(network: Network | Circuit, spikes: NDArray[Any], steps: int | None) -> tuple[Circuit, NDArray[np.uint8], int]:
    """The network as a circuit, and the spikes and steps of a run."""
    if network.has_input_neurons:
        raise UserError("network: it begins with input neurons; a body driven by spikes expected")
    spikes = shaped_input(np.asarray(spikes), network, leading=2)
    if not ((spikes == 0) | (spikes == 1)).all():
        raise UserError("spikes: values other than 0 and 1 found")
    if steps is not None and steps < len(spikes):
        raise UserError(f"steps: {steps} found, at least the {len(spikes)} of the input expected")
    circuit = network if isinstance(network, Circuit) else network.circuit(input_shape=spikes.shape[2:])
    _ = [population.cuba for population in circuit.populations]  # others are refused by name
    return circuit, spikes.astype(np.uint8), len(spikes) if steps is None else steps


def kept_between_samples(circuit: Circuit) -> str:
    """What carries a spike beyond the step that it belongs to; empty for nothing."""
    for population in circuit.populations:
        if population.recurrent is not None:
            return f"population {population.key}: recurrent synapses"
    for number, synapse in enumerate(circuit.synapses):
        most, expected = _longest(synapse), circuit.aligned_delay(synapse)
        if most > expected:
            return f"synapse {number}: a delay of {most}, {most - expected} more than lines it up with the longest way,"
    return ""


def _longest(synapse: Synapse) -> int:
    return synapse.delay + int(np.max(getattr(synapse.connection, "delay", 0)))


def check_apart(circuit: Circuit) -> None:
    """Refuse what a sample on a fresh chip would still find of the steps before its first one."""
    quiet = list[bool]()
    for index, population in enumerate(circuit.populations):
        sources = [synapse.source for synapse in circuit.into(index)]
        quiet.append(_is_quiet(population) and all(source == INPUT or quiet[source] for source in sources))
        if population.recurrent is not None and not quiet[index]:
            raise UserError(f"population {population.key}: {_LOUD.format('its recurrent synapses')}")
    for number, synapse in enumerate(circuit.synapses):
        least = synapse.delay + int(np.min(getattr(synapse.connection, "delay", 0)))
        expected = circuit.aligned_delay(synapse)
        if least < expected:
            raise UserError(
                f"synapse {number}: a delay of {least} found, at least {expected} expected, so that its spikes and those of "
                f"the longest way into {circuit.populations[synapse.target].key} belong to the same input step"
            )
        if _longest(synapse) > expected and synapse.source != INPUT and not quiet[synapse.source]:
            source = circuit.populations[synapse.source].key
            raise UserError(f"population {source}: {_LOUD.format(f'the delay of synapse {number}')}")


_LOUD = (
    "its bias makes it fire before the first spike of a sample arrives, and {} would bring that into the sample; run the "
    "network with simulate, or train it without that bias, or without what brings its spikes later"
)


def _is_quiet(population: Population) -> bool:
    """Whether neurons never fire without input: a bias is at most what keeps the potential at the threshold."""
    if population.bias is None or population.bias.max() <= 0:
        return True
    neuron, axes = population.cuba, (-1, *(1,) * (population.bias.ndim - 1))
    limit = np.broadcast_to(np.multiply(neuron.threshold, neuron.v_decay), population.shape[:1]).reshape(axes)
    return bool((4096 * population.bias <= limit).all())
