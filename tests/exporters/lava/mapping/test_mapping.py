import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from neurodeploy.io.errors import UserError
from neurodeploy_exporters.lava.circuit import INPUT, Circuit, Convolution, Matrix, Population, Synapse
from neurodeploy_exporters.lava.layers import CubaConstants
from neurodeploy_exporters.lava.mapping import load, map_circuit, names
from neurodeploy_exporters.lava.mapping.chip import RESOURCES, Limit
from neurodeploy_exporters.lava.mapping.mapper import can_narrow, narrowed
from neurodeploy_exporters.lava.mapping.picture import picture
from neurodeploy_exporters.lava.mapping.result import as_json, faults, percent, summary
from neurodeploy_exporters.lava.netfile import read, write
from neurodeploy_exporters.lava.network import Network
from neurodeploy_exporters.lava.reading import open_circuit

LOIHI1 = load("loihi1")
SMALL = replace(LOIHI1, cores=Limit(20, "test"))


def population(key, shape, **more):
    return Population(key=key, shape=shape, neuron=CubaConstants(4096, 4096, 1), **more)


def dense_chain(*sizes):
    """Full matrices from the input on."""
    populations = tuple(population(f"dense{i}", (size,)) for i, size in enumerate(sizes[1:], 1))
    synapses = tuple(
        Synapse(source=i - 1, target=i, connection=Matrix(weight=np.full((after, before), 2)))
        for i, (before, after) in enumerate(pairwise(sizes))
    )
    return Circuit(input_shape=(sizes[0],), populations=populations, synapses=synapses)


def convolution_chain(shape, *channels, kernel=3):
    populations, synapses, source = [], [], shape
    for i, outputs in enumerate(channels):
        weight = np.full((outputs, source[0], kernel, kernel), 2)
        connection = Convolution(weight=weight, padding=(kernel // 2, kernel // 2))
        source = connection.output_shape(source)
        populations.append(population(f"conv{i + 1}", source))
        synapses.append(Synapse(source=i - 1, target=i, connection=connection))
    return Circuit(input_shape=shape, populations=tuple(populations), synapses=tuple(synapses))


@pytest.mark.parametrize("name", names())
def test_every_limit_of_every_chip_has_a_source_and_boards_grow(name):
    chip = load(name)
    assert set(chip.limits) <= set(RESOURCES)
    assert all(limit.value > 0 and len(limit.source) > 20 for limit in (chip.cores, *chip.limits.values()))
    assert len(chip.encoding.source) > 20
    assert [board.chips for board in chip.boards] == sorted({board.chips for board in chip.boards})
    assert chip.approximate == (name == "loihi2")


def test_an_unknown_chip_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match="chip 'loihi3': not known; there are: loihi1, loihi2"):
        load("loihi3")


def test_loihi_1_has_the_limits_that_nengo_loihi_validates():
    limits = {resource: limit.value for resource, limit in LOIHI1.limits.items()}
    assert limits == {
        "neurons": 1024,
        "input_axons": 4096,
        "output_axons": 4096,
        "synapse_bits": 128 * 1024 * 8,
        "delay_slots": 8192,
    }
    assert LOIHI1.cores.value == 128


def test_each_limit_alone_decides_how_many_cores_a_population_takes():
    circuit = dense_chain(600, 64)
    for resource, value, expected in (
        ("neurons", 10, 7),
        ("output_axons", 5, 13),
        ("synapse_bits", 600 * 64 * 2, 5),  # two words hold 14 weights
        ("delay_slots", 8 * 32, 2),
    ):
        chip = replace(LOIHI1, limits={**LOIHI1.limits, resource: Limit(value, "test")})
        (placed,) = map_circuit(circuit, chip).placed
        assert (len(placed.cores), placed.fullest(chip)[0]) == (expected, resource)
    chip = replace(LOIHI1, limits={**LOIHI1.limits, "input_axons": Limit(100, "test")})
    assert len(map_circuit(convolution_chain((1, 30, 30), 1), chip).placed[0].cores) > 9


def test_no_smaller_number_of_cores_would_do():
    """5 of 64 channels hold 1024 compartments of 14 × 14 pixels, so that 13 cores are needed; 12 would be too full."""
    (placed,) = map_circuit(convolution_chain((1, 14, 14), 64, kernel=1), LOIHI1).placed
    assert len(placed.cores) == 13
    assert sum(core.use.neurons for core in placed.cores) == 64 * 14 * 14


def test_a_fan_in_beyond_the_input_axons_names_the_number_of_channels_that_would_fit():
    circuit = convolution_chain((4, 5, 5), 512, 8)
    mapping = map_circuit(circuit, LOIHI1)
    (unplaced,) = mapping.unplaced
    assert not mapping.fits
    assert (unplaced.key, unplaced.resource, unplaced.found, unplaced.limit) == ("conv2", "input_axons", 4608, 4096)
    assert "reduce the channels that it reads from conv1 from 512 to 455 (fan-in 4,608 to 4,095)" in unplaced.change
    assert map_circuit(narrowed(circuit, {0: 455}), LOIHI1).fits
    assert not map_circuit(narrowed(circuit, {0: 456}), LOIHI1).fits


def test_a_fan_in_beyond_the_synapse_memory_names_the_number_of_neurons_that_would_fit():
    chip = replace(LOIHI1, limits={**LOIHI1.limits, "synapse_bits": Limit(640, "test")})
    mapping = map_circuit(dense_chain(30, 3), chip)
    assert faults(mapping) == [
        "dense1: one neuron takes 0.2 KiB of synapse memory, a core has 0.1 KiB: let each of its neurons read at most 10 of "
        "the 30 neurons of the input"
    ]


def test_a_neuron_that_sends_to_too_many_cores_is_told_how_many_would_do():
    limits = {**LOIHI1.limits, "output_axons": Limit(3, "test"), "neurons": Limit(1, "test")}
    mapping = map_circuit(dense_chain(2, 4, 10, 2), replace(LOIHI1, limits=limits))
    assert [(u.key, u.found) for u in mapping.unplaced] == [("dense1", 10)]
    assert mapping.unplaced[0].change == "make the populations that it sends to fit 3 cores instead of 10"


def test_more_cores_than_there_are_names_the_smallest_change_that_fits_and_no_smaller_one_does():
    circuit = dense_chain(1000, 1500, 1000, 10)
    now = map_circuit(circuit, SMALL, chips=1)
    assert now.cores_too_many > 0
    assert not now.fits
    key, before, after = ("dense1", 1500, int(now.change.rpartition(" ")[2].replace(",", "")))
    assert now.change == f"reduce the neurons of {key} from {before:,} to {after:,}"
    assert map_circuit(narrowed(circuit, {0: after}), SMALL, chips=1).fits
    assert not map_circuit(narrowed(circuit, {0: after + 1}), SMALL, chips=1).fits
    assert f"{now.cores_too_many:,} cores more than the 20 of 1 chip: reduce" in faults(now)[0]


def test_where_no_population_alone_helps_all_of_them_are_reduced_together():
    circuit = dense_chain(1000, 1000, 1000, 1000, 1000, 10)
    mapping = map_circuit(circuit, SMALL, chips=1)
    assert mapping.change.startswith("reduce the channels of all populations that can be narrowed (4) to ")
    percentage = int(mapping.change.split()[-2])
    smaller = dict.fromkeys(range(4), 1000 * percentage // 100)
    assert map_circuit(narrowed(circuit, smaller), SMALL, chips=1).fits
    larger = dict.fromkeys(range(4), 1000 * (percentage + 1) // 100)
    assert not map_circuit(narrowed(circuit, larger), SMALL, chips=1).fits


def test_where_nothing_can_be_narrowed_a_smaller_network_is_asked_for():
    mapping = map_circuit(dense_chain(2000, 2000), SMALL, chips=1)
    assert mapping.change == "use a smaller network: fewer channels, or a smaller input"


def test_populations_tied_by_a_grouped_convolution_are_not_narrowed():
    shape = (4, 6, 6)
    depthwise = Convolution(weight=np.full((4, 1, 1, 1), 2), groups=4)
    dense = Convolution(weight=np.full((4, 4, 1, 1), 2))
    synapses = [Synapse(source=i - 1, target=i, connection=c) for i, c in enumerate((dense, dense, depthwise, dense, dense))]
    populations = tuple(population(f"p{i}", shape) for i in range(5))
    circuit = Circuit(input_shape=shape, populations=populations, synapses=tuple(synapses))
    assert [can_narrow(circuit, index) for index in range(5)] == [True, False, False, True, False]


def test_narrowing_keeps_the_first_channels_of_everything_that_belongs_to_them():
    neuron = CubaConstants(np.array([1, 2, 3]), 4096, 1)
    first = Population(key="a", shape=(3, 2, 2), neuron=neuron, bias=np.array([7, 8, 9]))
    second = Population(key="b", shape=(4,), neuron=CubaConstants(1, 1, 1), recurrent=2 * np.arange(16).reshape(4, 4))
    weight = 2 * np.arange(48).reshape(4, 12)
    circuit = Circuit(
        input_shape=(1, 2, 2),
        populations=(first, second, population("c", (1,))),
        synapses=(
            Synapse(source=INPUT, target=0, connection=Convolution(weight=np.array([2, 4, 6]).reshape(3, 1, 1, 1))),
            Synapse(source=0, target=1, connection=Matrix(weight=weight, delay=weight % 5)),
            Synapse(source=1, target=2, connection=Matrix(weight=np.full((1, 4), 2))),
        ),
    )
    smaller = narrowed(circuit, {0: 2, 1: 3})
    assert smaller.populations[0].bias.tolist() == [7, 8]
    assert smaller.populations[0].neuron.i_decay.tolist() == [1, 2]
    assert np.array_equal(smaller.synapses[1].connection.weight, weight[:3, :8])
    assert np.array_equal(smaller.synapses[1].connection.delay, weight[:3, :8] % 5)
    assert np.array_equal(smaller.populations[1].recurrent, second.recurrent[:3, :3])
    assert smaller.synapses[2].connection.weight.shape == (1, 3)


def test_the_smallest_board_that_holds_the_chips_is_named():
    assert map_circuit(dense_chain(10, 10), LOIHI1).board.name == "Kapoho Bay"
    three_chips = map_circuit(dense_chain(1000, 3000, 1000, 10), SMALL)
    assert three_chips.chips == 3
    assert three_chips.board.name == "Nahuku"
    assert "smallest board: Nahuku (32 chips)" in summary(three_chips)
    assert map_circuit(dense_chain(10, 10), load("loihi2")).board.name == "Oheo Gulch"


def test_chips_below_one_are_refused():
    with pytest.raises(UserError, match="chips: 0 found, at least 1 expected"):
        map_circuit(dense_chain(2, 2), LOIHI1, chips=0)


def test_pilotnet_takes_as_many_cores_as_lavas_compiler_gave_it(recorded):
    circuit = open_circuit(recorded("g01").network)
    mapping = map_circuit(circuit, load("loihi2"))
    assert (mapping.cores, mapping.chips) == (74, 1)
    assert mapping.total.neurons == sum(int(np.prod(p.shape)) for p in circuit.populations)
    assert map_circuit(circuit, LOIHI1).fits


def test_a_file_that_does_not_tell_its_input_is_mapped_as_one_that_does(recorded, tmp_path):
    network = read(recorded("g01").network)
    untold = Network(network.layers[1:])
    assert untold.input_shape is None
    write(untold, tmp_path / "untold.net")
    told, found = (map_circuit(c, LOIHI1) for c in (network.circuit(), open_circuit(tmp_path / "untold.net")))
    assert [len(placed.cores) for placed in found.placed] == [len(placed.cores) for placed in told.placed[1:]]
    assert [placed.shape for placed in found.placed] == [placed.shape for placed in told.placed[1:]]


def test_the_document_holds_every_core_and_every_limit_with_its_source():
    mapping = map_circuit(dense_chain(600, 2000, 10), LOIHI1)
    document = json.loads(as_json(mapping, "body.net"))
    assert document["chip"]["limits"]["neurons"]["source"]
    assert document["cores"] == sum(len(p["cores"]) for p in document["populations"]) == mapping.cores
    first = document["populations"][0]["cores"][0]
    assert first["neurons"] == mapping.placed[0].cores[0].use.neurons
    assert max(first["shares"].values()) == mapping.placed[0].cores[0].use.fullest(LOIHI1)[1]
    assert document["smallest_board"] == mapping.board.name
    assert document["fits"]


def test_the_picture_shows_every_core_of_every_chip_and_names_every_population():
    mapping = map_circuit(dense_chain(1000, 3000, 1000, 10), SMALL)
    figure = picture(mapping)
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert len(shown) == mapping.chips == 3
    filled = [patch for axes in shown for patch in axes.patches if patch.get_facecolor()[3] and patch.get_edgecolor()[3]]
    assert len([patch for patch in filled if patch.get_edgecolor()[:3] == (1, 1, 1)]) == mapping.cores
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.partition(":")[0] for label in labels] == ["dense1", "dense2", "dense3"]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in shown)


def test_shares_too_small_for_a_whole_percent_do_not_read_as_nothing():
    assert [percent(share) for share in (0, 0.0001, 0.0099, 0.01, 0.5, 1)] == ["0 %", "< 1 %", "< 1 %", "1 %", "50 %", "100 %"]
