"""Counts of every core against an enumeration of all synapses, one by one."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.mapping import load
from neurodeploy_exporters.lava.mapping.chip import Limit
from neurodeploy_exporters.lava.mapping.placement import Placer

NEURON = CubaConstants(4096, 4096, 1)


def enumerated(circuit, index):
    """Every synapse into a population as (source population, source neuron, target neuron), neurons as index tuples."""
    found = []
    own = circuit.populations[index].recurrent
    synapses = [*circuit.into(index)]
    if own is not None:
        synapses.append(Synapse(source=index, target=index, connection=Matrix(weight=own)))
    for synapse in synapses:
        source = circuit.input_shape if synapse.source == INPUT else circuit.populations[synapse.source].shape
        connection = synapse.connection
        if isinstance(connection, Matrix):
            places = list(np.ndindex(*source))
            found += [(synapse.source, places[i], (o,)) for o, i in zip(*np.nonzero(connection.weight), strict=True)]
            continue
        outputs, inputs = (size // connection.groups for size in (len(connection.weight), source[0]))
        for target in np.ndindex(*circuit.populations[index].shape):
            for channel, ky, kx in product(range(inputs), *map(range, connection.weight.shape[2:])):
                y, x = (
                    place * stride - padding + dilation * k
                    for place, stride, padding, dilation, k in zip(
                        target[1:], connection.stride, connection.padding, connection.dilation, (ky, kx), strict=True
                    )
                )
                if 0 <= y < source[1] and 0 <= x < source[2] and connection.weight[target[0], channel, ky, kx]:
                    place = (target[0] // outputs * inputs + channel, y, x)
                    found.append((synapse.source, place, target))
    return found


def weights(draw, shape):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return 2 * generator.integers(-2, 3, shape)


@st.composite
def convolutions(draw, channels, outputs, kernel=None):
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == outputs % g == 0]))
    kernel = kernel or draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride, dilation = (draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) for _ in range(2))
    return Convolution(
        weight=weights(draw, (outputs, channels // groups, *kernel)),
        stride=stride,
        padding=draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        dilation=dilation,
        groups=groups,
    )


@st.composite
def circuits(draw):
    """Two convolutions, a second way from the first to a third population beside the long one, and matrices."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(5, 7)), draw(st.integers(5, 7)))
    first = draw(convolutions(shape[0], draw(st.integers(1, 4))))
    a = first.output_shape(shape)
    same = Convolution(weight=weights(draw, (a[0], a[0], 3, 1)), padding=(1, 0))
    both = [
        Synapse(source=0, target=2, connection=Convolution(weight=weights(draw, (a[0], 1, 1, 1)), groups=a[0]), delay=1),
        Synapse(source=0, target=2, connection=Convolution(weight=weights(draw, (a[0], a[0], 1, 3)), padding=(0, 1)), delay=1),
    ]
    size = int(np.prod(a))
    width = draw(st.integers(1, 5))
    recurrent = weights(draw, (width, width)) if draw(st.booleans()) else None
    keys = ("a", "b", "c")
    populations = [Population(key=key, shape=a, neuron=NEURON) for key in keys]
    populations.append(Population(key="d", shape=(width,), neuron=NEURON, recurrent=recurrent))
    synapses = (
        Synapse(source=INPUT, target=0, connection=first),
        Synapse(source=0, target=1, connection=same),
        Synapse(source=1, target=2, connection=same),
        *both[: draw(st.integers(0, 2))],
        Synapse(source=2, target=3, connection=Matrix(weight=weights(draw, (width, size)))),
    )
    return Circuit(input_shape=shape, populations=tuple(populations), synapses=synapses)


def tight(name, neurons, axons):
    """A chip whose cores hold little, so that small circuits take many of them."""
    chip = load(name)
    limits = {**chip.limits, "neurons": Limit(neurons, "test"), "input_axons": Limit(axons, "test")}
    return type(chip)(**{**chip.__dict__, "limits": limits})


@settings(deadline=None, max_examples=60)
@given(circuits(), st.integers(3, 40), st.integers(150, 400), st.sampled_from(["loihi1", "loihi2"]))
def test_the_counts_of_every_core_equal_those_of_an_enumeration_of_all_synapses(circuit, most_neurons, most_axons, name):
    chip = tight(name, most_neurons, most_axons)
    placement = Placer(chip).place(circuit)
    assume(None not in placement)
    home, reached = {}, {}
    for index, cores in enumerate(placement):
        held = [n for core in cores for n in np.ndindex(*(stop - start for start, stop in core.block))]
        assert len(held) == np.prod(circuit.populations[index].shape)
        for number, core in enumerate(cores):
            for neuron in product(*(range(*span) for span in core.block)):
                assert (index, neuron) not in home
                home[index, neuron] = (index, number)
    synapses = {index: enumerated(circuit, index) for index in range(len(placement))}
    for index, found in synapses.items():
        for source, neuron, target in found:
            reached.setdefault(home[index, target], []).append((source, neuron))
    senders = {synapse.source for synapse in circuit.synapses}
    for index, cores in enumerate(placement):
        shared = [s for s in circuit.into(index) if isinstance(s.connection, Convolution)] if name == "loihi2" else []
        for number, core in enumerate(cores):
            into = reached.get((index, number), [])
            assert core.use.neurons == np.prod([stop - start for start, stop in core.block]) <= most_neurons
            assert core.use.synapses == len(into)
            if not shared:
                assert core.use.input_axons == len(set(into)) <= most_axons
            else:
                assert core.use.input_axons <= len(shared)
            mine = {neuron for neuron in home if home[neuron] == (index, number)}
            sent = {(neuron, there) for there, sources in reached.items() for neuron in sources if neuron in mine}
            assert core.use.output_axons == len(sent) + (len(mine) if index not in senders else 0)


@pytest.mark.parametrize(("delay", "slots"), [(0, 8), (6, 8), (7, 16), (14, 16), (62, 64)], ids=lambda value: str(value))
def test_a_long_delay_takes_more_slots_of_each_neuron_and_so_more_cores(delay, slots):
    weight = np.full((1024, 1), 2)
    circuit = Circuit(
        input_shape=(1,),
        populations=(Population(key="a", shape=(1024,), neuron=NEURON),),
        synapses=(Synapse(source=INPUT, target=0, connection=Matrix(weight=weight), delay=delay),),
    )
    ((*cores,),) = Placer(load("loihi1")).place(circuit)
    assert len(cores) == slots // 8
    assert all(core.use.delay_slots == slots * core.use.neurons for core in cores)
