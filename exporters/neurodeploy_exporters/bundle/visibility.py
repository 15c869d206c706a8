"""Which single values of an exact network show in what its sample records, when one is changed by its smallest step.

On the exact grid every sum is exact, so most of this is arithmetic and no experiment. A weight `w[o, i]` that moves by δ moves
the sum of the currents of channel o over time and places by δ times the sum of what came in through i: it shows unless nothing
did. That is known of all weights at once. Biases, thresholds and decays are changed, and their layer is computed again: its
channels do not see each other, so all of them are changed at once. What is left, weights without an exact sum behind them such
as those of a head in floats, is changed at a few random places, each alone, and computed again up to the next recorded values.

What it says of a network holds for every way of running it: in exact bundles these make the same bits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neurodeploy.dynamics.neurons import CubaParameters, cuba_step, neuron_step
from neurodeploy.graph import Graph, ops
from neurodeploy.graph.interpreter import Array, computed
from neurodeploy.graph.module import torch_run
from neurodeploy.graph.ops import Node
from neurodeploy.graph.ops.fixed_point import over_places
from neurodeploy.graph.ops.operation import exponent, fires
from neurodeploy_exporters.bundle.claims import MutationScore
from neurodeploy_exporters.bundle.states import has_states, state_sums, summed

LOGITS_ATOL = 1e-4
"""By which the logits of an exact network may differ between runtimes: its head sums floats."""
MOST_INPUTS = 64
"""Of a sample that is filled up, unless more are asked for."""
CANDIDATES = 96
"""Inputs from the data among which is chosen, at most; as many as a third of them are made beside."""
_LEAST_ROOM = 16
_TRIES = 12
_PORTION = 16
_SEED = 0
_HIGHEST_DECAY = 4096
Shown: TypeAlias = NDArray[np.bool_]
Kind: TypeAlias = Literal["weight", "bias", "threshold", "decay"]


@dataclass(frozen=True, eq=False)
class Visible:
    """What inputs show of the values of one kind of a layer.

    Attributes:
        layer: name of the node.
        kind: "weight", "bias", "threshold" or "decay".
        values: how many there are.
        shown: `[B, n]`, whether an input shows a change of the values of a group.
        groups: `[n]`, how many values each group has: those that are seen together or not at all.
    """

    layer: str
    kind: Kind
    values: int
    shown: Shown
    groups: NDArray[np.int64]

    @property
    def score(self) -> MutationScore:
        seen = int(self.groups[self.shown.any(0)].sum())
        return MutationScore(layer=self.layer, kind=self.kind, values=self.values, tried=int(self.groups.sum()), shown=seen)


def scores(graph: Graph, tensors: Mapping[str, Array]) -> tuple[MutationScore, ...]:
    """What a sample shows, by layer and kind.

    Args:
        graph: an exact network.
        tensors: of `interpreter.run` on the inputs of the sample.
    """
    return tuple(one.score for one in visible(graph, tensors, tries=_TRIES))


def visible(graph: Graph, tensors: Mapping[str, Array], *, tries: int = 0) -> Iterator[Visible]:
    """What inputs show, by layer and kind.

    Args:
        graph: an exact network.
        tensors: those that its nodes make of the inputs.
        tries: values of a layer that are changed one by one where there is no other way; such layers are left out if 0.
    """
    rng = np.random.default_rng(_SEED)
    for node in graph.nodes:
        if isinstance(node, ops.Weighted):
            way = _way(graph, node)
            reach = None if way is None else _reach(node, tensors[node.inputs[0]], timed=graph.timed(node.inputs[0]))
            if reach is not None:
                yield _of_weights(node, reach)
            elif tries:
                yield _tried(graph, tensors, node, "weight", tries, rng)
            if node.bias is not None and way is not None:
                yield _of_bias(graph, tensors, node, node.bias, way)
            elif node.bias is not None and tries:
                yield _tried(graph, tensors, node, "bias", tries, rng)
        elif isinstance(node, ops.NeuronNode):
            yield from _of_neurons(node, tensors[node.inputs[0]])
        elif isinstance(node, ops.FixedPointNeuronNode) and node.recurrent is None:
            yield from _of_chip_neurons(node, tensors[node.inputs[0]])


def _way(graph: Graph, node: Node) -> list[Node] | None:
    """The nodes behind synapses up to neurons whose currents are recorded, if these only add up what the synapses make."""
    for reader in graph.consumers(node.name):
        if has_states(reader):
            return [reader]
        if isinstance(reader, ops.AddNode | ops.EncodeNode):
            further = _way(graph, reader)
            if further is not None:
                return [reader, *further]
    return None


def _reach(node: ops.Weighted, entering: Array, *, timed: bool) -> NDArray[np.float64] | None:
    """The sum over time and places of what comes in through each weight, `[B, C_in, *kernel]`; None of other operations."""
    sums = entering.sum(0, dtype=np.float64) if timed else entering.astype(np.float64)
    if isinstance(node, ops.LinearNode) and sums.ndim == 2:
        return sums
    if not isinstance(node, ops.ConvNode):
        return None
    padded = np.pad(sums, [(0, 0), (0, 0), *((size, size) for size in node.padding)])
    kernel, spatial = node.weight.shape[2:], tuple(range(2, sums.ndim))
    places = node.output_shape([sums.shape[1:]])[1:]
    found = np.empty((*sums.shape[:2], *kernel))
    for tap in np.ndindex(*kernel):
        starts = [k * d for k, d in zip(tap, node.dilation, strict=True)]
        window = [slice(at, at + s * (n - 1) + 1, s) for at, s, n in zip(starts, node.stride, places, strict=True)]
        found[(slice(None), slice(None), *tap)] = padded[(slice(None), slice(None), *window)].sum(spatial)
    return found


def _of_weights(node: ops.Weighted, reach: NDArray[np.float64]) -> Visible:
    shown = (reach != 0).reshape(len(reach), -1)
    each = len(node.weight) // getattr(node, "groups", 1)  # one of each output that reads the channel
    return Visible(node.name, "weight", node.weight.size, shown, np.full(shown.shape[1], each, np.int64))


def _of_bias(graph: Graph, tensors: Mapping[str, Array], node: ops.Weighted, bias: Array, way: Sequence[Node]) -> Visible:
    """By a step of the biases' grid (see `Weighted.rounded`)."""
    made, neurons = tensors[node.name], way[-1]
    whole = isinstance(neurons, ops.FixedPointNeuronNode)
    moved = bias + np.float32(1 if whole else 2.0 ** -(exponent(node.weight) + 1))
    axes = made.ndim - (2 if graph.timed(node.name) else 1)
    changed: Array = (made - over_places(bias, axes)) + over_places(moved, axes)
    before = node.name
    for reader in way[:-1]:
        changed = computed(graph, reader, [changed if name == before else tensors[name] for name in reader.inputs])
        before = reader.name
    shown = summed(changed, timed=True) != summed(tensors[before], timed=True)
    return Visible(node.name, "bias", bias.size, shown, np.ones(bias.size, np.int64))


def _of_neurons(node: ops.NeuronNode, currents: Array) -> Iterator[Visible]:
    """A threshold moves down by a bit, by which alone a spike can change: potentials are on a grid, and fire beyond it."""
    parameters = node.parameters
    lower = np.nextafter(np.float32(parameters.threshold), np.float32(0))
    less = float(np.nextafter(np.float32(parameters.decay), np.float32(0)))
    forgetful = replace(parameters, decay=less) if parameters.decay else None
    v = early = late = np.zeros(currents.shape[1:], np.float32)
    fired = differs = np.zeros(len(v), bool)
    for current in currents:
        spikes, after = neuron_step(v, current, parameters, fires)
        sooner, early = neuron_step(early, current, parameters, lambda h, _: fires(h, lower))
        fired = fired | _any(sooner != spikes)
        if forgetful is not None:
            other, late = neuron_step(late, current, forgetful, fires)
            differs = differs | _any(other != spikes)
        v = after
    yield _one(node, "threshold", fired | _other_sums(early, v))
    if forgetful is not None:
        yield _one(node, "decay", differs | _other_sums(late, v))


def _any(where: Shown) -> Shown:
    return np.asarray(where.reshape(len(where), -1).any(1))


def _other_sums(here: Array, there: Array) -> Shown:
    return np.asarray((summed(here, timed=False) != summed(there, timed=False)).any(1))


def _one(node: Node, kind: Kind, shown: Shown) -> Visible:
    return Visible(node.name, kind, 1, shown[:, None], np.ones(1, np.int64))


def _of_chip_neurons(node: ops.FixedPointNeuronNode, sums: Array) -> Iterator[Visible]:
    """Constants that each channel or neuron has for itself are changed in all at once: they do not see each other."""
    kinds: dict[str, Kind] = {"i_decay": "decay", "v_decay": "decay", "threshold": "threshold", "bias": "bias"}
    values: dict[str, Any] = {name: getattr(node, name) for name in kinds}
    sound = _chip_run(values, sums)
    shown: dict[Kind, list[Shown]] = {}
    for name, value in values.items():
        if name == "bias" and not np.any(value):
            continue  # it is that of the synapses, or there is none
        moved = np.asarray(value) + 1
        if kinds[name] == "decay":
            moved = np.where(moved > _HIGHEST_DECAY, _HIGHEST_DECAY - 1, moved)
        other = _chip_run(values | {name: moved if np.ndim(value) else moved.item()}, sums)
        differs = (other[0] != sound[0]).any(0) | (other[1] != sound[1]).any(0) | (other[2] != sound[2])
        shown.setdefault(kinds[name], []).append(_grouped(differs, np.ndim(value)))
    for kind, parts in shown.items():
        both = np.concatenate(parts, 1)
        yield Visible(node.name, kind, both.shape[1], both, np.ones(both.shape[1], np.int64))


def _chip_run(values: Mapping[str, Any], sums: Array) -> tuple[Any, Any, Any]:
    """Spikes and currents `[T, B, …]`, and the last potentials."""
    axes = sums.ndim - 2
    parameters = CubaParameters(*(over_places(values[name], axes) for name in ("i_decay", "v_decay", "threshold", "bias")))
    u = v = np.zeros(sums.shape[1:], np.int64)
    spikes, held = [], []
    for arriving in sums:
        s, u, v = cuba_step(u, v, arriving.astype(np.int64), parameters)
        spikes.append(s)
        held.append(u)
    return np.stack(spikes), np.stack(held), v


def _grouped(differs: Shown, axes: int) -> Shown:
    """`[B, …]` to `[B, n]`: for a number, one for each channel, or one for each neuron."""
    batch = len(differs)
    if axes == 0:
        return _any(differs)[:, None]
    by_neuron = differs.reshape(batch, differs.shape[1], -1)
    return np.asarray(by_neuron.any(2)) if axes == 1 else by_neuron.reshape(batch, -1)


def _tried(
    graph: Graph, tensors: Mapping[str, Array], node: ops.Weighted, kind: Kind, tries: int, rng: np.random.Generator
) -> Visible:
    """Values that are moved, each alone, with all that depends on them as far as the next recorded values."""
    value: Array = node.weight if kind == "weight" else np.asarray(node.bias)
    places, step = rng.choice(value.size, min(tries, value.size), replace=False), _whole_step(value)
    columns = []
    for place in places.tolist():
        moved = value.copy()
        here = moved.reshape(-1)[place]
        moved.reshape(-1)[place] = here + step if step else np.nextafter(here, np.float32(np.inf))
        changed = replace(node, weight=moved) if kind == "weight" else replace(node, bias=moved)
        columns.append(_recorded(graph, tensors, changed))
    return Visible(node.name, kind, value.size, np.stack(columns, 1), np.ones(len(columns), np.int64))


def _whole_step(value: Array) -> np.float32:
    """1 of integers, and 2 of even ones, as they are on a chip; 0 of floats."""
    if not value.any() or not np.array_equal(value, np.rint(value)):
        return np.float32(0)
    return np.float32(1 if (value % 2).any() else 2)


def _recorded(graph: Graph, tensors: Mapping[str, Array], changed: Node) -> Shown:
    """Whether each input records something else: what a changed node makes is followed up to spikes, states and answers."""
    made: dict[str, Array] = {}
    batch = next(iter(tensors.values())).shape[int(graph.timed(next(iter(tensors))))]
    shown = np.zeros(batch, bool)
    for node in graph.nodes:
        if node.name != changed.name and not any(source in made for source in node.inputs):
            continue
        own = changed if node.name == changed.name else node
        found = computed(graph, own, [made.get(source, tensors[source]) for source in node.inputs])
        if isinstance(node, ops.OutputNode):
            shown |= _any(np.abs(found - tensors[node.name]) > LOGITS_ATOL)
        elif isinstance(node, ops.Spiking):
            shown |= _any(np.moveaxis(found != tensors[node.name], 1, 0))
            if has_states(node):
                here = state_sums(graph, {**tensors, **made}, [node.name])
                there = state_sums(graph, tensors, [node.name])
                shown |= np.any([(here[name] != there[name]).any(1) for name in here], axis=0)
        else:
            made[node.name] = found
    return shown


def chosen(graph: Graph, given: Array, candidates: Array) -> Array:
    """Inputs that go into the sample of an exact network beside those that were given, so that more of its values show.

    Each is the one, of the candidates and of some that are made, that shows the most values which none before it shows; there
    are none where nothing is left that any of them shows.

    Args:
        graph: the network.
        given: inputs of the sample, `[B, …]` or `[T, B, …]`.
        candidates: further ones of the data; there may be none.
    """
    axis = int(graph.input.timed)
    shown, weight = _shown_by_each(graph, given, axis)
    missing = ~shown.any(0)
    if not missing.any():
        return given.take([], axis)
    pool = candidates.take(range(min(CANDIDATES, candidates.shape[axis])), axis)
    pool = np.concatenate([pool, made_of(np.concatenate([given, pool], axis), CANDIDATES // 3, axis)], axis)
    shown, _ = _shown_by_each(graph, pool, axis)
    picked, room = list[int](), max(_LEAST_ROOM, MOST_INPUTS - given.shape[axis])
    while len(picked) < room and missing.any():
        gains = (shown[:, missing] * weight[missing]).sum(1)
        best = int(gains.argmax())
        if not gains[best]:
            break
        picked.append(best)
        missing &= ~shown[best]
    return pool.take(picked, axis)


def _shown_by_each(graph: Graph, inputs: Array, axis: int) -> tuple[Shown, NDArray[np.int64]]:
    """`[B, n]`, for each input, of the groups of all layers, and `[n]`, their sizes."""
    run = torch_run(graph)
    names = [node.name for node in graph.nodes if not isinstance(node, ops.InputNode | ops.OutputNode)]
    rows, sizes = [], np.empty(0, np.int64)
    for start in range(0, inputs.shape[axis], _PORTION):
        part = inputs.take(range(start, min(start + _PORTION, inputs.shape[axis])), axis)
        tensors = {
            # torch has a time axis of one step in static values
            name: value if graph.timed(name) else value.reshape(part.shape[axis], *graph.shape(name))
            for name, value in run(part, names).items()
        }
        found = list(visible(graph, {graph.input.name: part, **tensors}))
        rows.append(np.concatenate([np.zeros((part.shape[axis], 0), bool), *(one.shown for one in found)], 1))
        sizes = np.concatenate([sizes[:0], *(one.groups for one in found)])
    return np.concatenate(rows), sizes


def made_of(inputs: Array, count: int, axis: int) -> Array:
    """Inputs that no data has, of values that it has, so that they are on its grid: all of the largest value, of the smallest
    and the largest at random, in several proportions, and with the places of a given one shuffled.

    Args:
        inputs: `[B, …]`, or `[T, B, …]` where `axis` is 1.
        count: to be made.
        axis: of the batch.
    """
    rng = np.random.default_rng(_SEED)
    rows = np.moveaxis(inputs, axis, 0)
    low, high = rows.min(), rows.max()
    made = []
    for number in range(count):
        if number == 0:
            row = np.full(rows.shape[1:], high, np.float32)
        elif number % 2:
            row = np.where(rng.random(rows.shape[1:]) < number / count, high, low).astype(np.float32)
        else:
            row = rng.permutation(rows[number % len(rows)].reshape(-1)).reshape(rows.shape[1:])
        made.append(row)
    return np.moveaxis(np.stack(made), 0, axis)
